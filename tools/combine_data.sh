#!/usr/bin/env bash
# Combine data dirs into one.
#
# Reads   <src-dir>s. Files that all of them have are combined; others are left out with a note. If only some have
#         segments or utt2uniq, the others get segments from utt2dur, and utt2uniq from their own ids.
# Leaves  <dest-dir>. An id may be in several of them if its lines are the same. Else it is refused, and so are features
#         of different front-ends (fbank.yaml).
#
# Usage: tools/combine_data.sh [options] <dest-dir> <src-dir1> [<src-dir2> ...]
# e.g.: tools/combine_data.sh data/train_sp data/train data/train_sp0.9 data/train_sp1.1
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
extra_files=   # names of more files to combine
# shellcheck disable=SC2034
skip_fix=false # accepted as in Kaldi, without effect: valid dirs are combined into a valid one
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

dest=${1%/}
shift
sources=("${@%/}")
check_target "$dest" "${sources[@]}"
for src in "${sources[@]}"; do
  check_source "$src"
done
make_work_dir "$dest"

lacking() { # <file>: print the first source without it, if any
  local src
  for src in "${sources[@]}"; do
    if [ ! -e "$src/$1" ]; then
      printf '%s' "$src"
      return
    fi
  done
}

segments_of() { # <source>: print its segments, or whole recordings
  if [ -e "$1/segments" ]; then
    cat "$1/segments"
  elif [ -e "$1/utt2dur" ]; then
    awk '{ print $1, $1, 0, $2 }' "$1/utt2dur"
  else
    die "$1 has no segments, but another has; run tools/get_utt2dur.sh $1, so that they can be made"
  fi
}

uniq_of() { # <source>: print its utt2uniq, or each utterance mapped to itself
  if [ -e "$1/utt2uniq" ]; then
    cat "$1/utt2uniq"
  else
    awk '{ print $1, $1 }' "$1/utt2spk"
  fi
}

lines_of() { # <file>: print its lines of all sources
  local src
  for src in "${sources[@]}"; do
    case $1 in
      segments) segments_of "$src" ;;
      utt2uniq) uniq_of "$src" ;;
      feats.scp | vad.scp | cmvn.scp) "$tools/rebase_scp.pl" --to "$dest" "$src/$1" ;;
      *) cat "$src/$1" ;;
    esac
  done
}

combine() { # <file>: sorted, each line once, each id once
  local src id
  lines_of "$1" | sort -u >"$work/$1"
  id=$(awk '{ id = $1 "" } id == last && !found { print id; found = 1 } { last = id }' "$work/$1")
  if [ -n "$id" ]; then
    for src in "${sources[@]}"; do
      say "$src/$1: $(id=$id awk '$1 "" == ENVIRON["id"]' "$src/$1")"
    done
    die "$id differs between the data dirs; rename the ids of one with copy_data_dir.sh --utt-prefix --spk-prefix"
  fi
}

but_dither() { # <file>: print its lines without dither; nothing if there is no such file
  sed '/^dither:/d' "$1" 2>/dev/null || true
}

combine_settings() { # <file>: copy the settings of the features, which must be the same except for dither
  local src differing
  for src in "${sources[@]}"; do
    differing=$(diff <(but_dither "${sources[0]}/$1") <(but_dither "$src/$1") | sed -n 's/^[<>] //p' || true)
    if [ -n "$differing" ]; then
      die "${sources[0]}/$1 and $src/$1 differ (${differing//$'\n'/, }): other front-ends;" \
        "make the features of one again"
    fi
  done
  cp "${sources[0]}/$1" "$work/$1"
}

combine utt2spk
make_spk2utt "$work"
files=$(for src in "${sources[@]}"; do list_files all "$src"; done | sort -u)
features=$(lacking feats.scp)
for file in $files; do
  src=$(lacking "$file")
  case $file in
    utt2spk | spk2utt) ;;
    segments | utt2uniq) combine "$file" ;;
    fbank.yaml | frame_shift)
      if [ -z "$features" ]; then
        combine_settings "$file"
      fi
      ;;
    *)
      if [ -z "$src" ]; then
        combine "$file"
      else
        say "$file left out: $src has none"
      fi
      ;;
  esac
done
check_result "$work" "$dest" --no-spk-sort
for file in $extra_files; do
  src=$(lacking "$file")
  if [ -n "$src" ]; then
    say "$file left out: $src has none"
  else
    lines_of "$file" | sort -u >"$work/.extra"
    mv -f "$work/.extra" "$dest/$file"
  fi
done
install_data_dir "$work" "$dest"
say "combined ${#sources[@]} data dirs into $dest"
