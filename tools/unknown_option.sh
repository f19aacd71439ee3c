# shellcheck shell=bash disable=SC2154
# Print an error for an unknown option, or for a value that an option does not take. tools/parse_options.sh sources this
# when it meets one.

_po_answer() { # <name>: print what follows its name: the answer in elsewhere.txt, the nearest option, or nothing
  local name answer
  while read -r name answer; do
    if [[ $name == "$1" ]]; then
      printf ': %s' "$answer"
      return
    fi
  done <"${BASH_SOURCE[0]%/*}/../steps/options/elsewhere.txt"
  name=$(_po_nearest "$1" "${!_po_default[@]}")
  [[ -z $name ]] || printf '; did you mean %s?' "$(_po_flag "$name")"
}

_po_nearest() { # <word> <known word>...: print the one that may have been meant, or nothing
  local name best='' _po_edits least=$((${#1} / 3 + 1))
  if ((${#1} > 64)); then
    return
  fi
  for name in "${@:2}"; do
    if [[ ${#1} -ge 2 && ($name == "$1"* || $name == *_"$1") ]]; then
      _po_edits=0
    else
      _po_distance "$1" "$name"
    fi
    if ((_po_edits < least || (_po_edits == least && ${#best} == 0))); then
      best=$name least=$_po_edits
    fi
  done
  printf '%s' "$best"
}

_po_distance() { # <a> <b>: set _po_edits, how many edits turn one into the other (Levenshtein)
  local a=$1 b=$2 i j cost above
  local -a row=()
  for ((j = 0; j <= ${#b}; j++)); do
    row[j]=$j
  done
  for ((i = 1; i <= ${#a}; i++)); do
    above=$((i - 1)) row[0]=$i
    for ((j = 1; j <= ${#b}; j++)); do
      [[ ${a:i-1:1} == "${b:j-1:1}" ]] && cost=$above || cost=$((above + 1))
      above=${row[j]}
      ((row[j] + 1 < cost)) && cost=$((row[j] + 1))
      ((row[j - 1] + 1 < cost)) && cost=$((row[j - 1] + 1))
      row[j]=$cost
    done
  done
  _po_edits=${row[${#b}]}
}
