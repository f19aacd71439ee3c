# shellcheck shell=bash
# Functions of the data-dir tools, which source this after parse_options.sh.
# A tool makes its files in its own folder ($work, from make_work_dir) and moves them into place when all are complete.

tools=$(dirname "${BASH_SOURCE[0]}")

# Files that are made from the audio.
derived_files=' feats.scp vad.scp utt2num_frames utt2dur reco2dur fbank.yaml frame_shift utt2augment '

check_source() { # <data-dir>: stop unless its lists are right; features and audio may be missing
  if [ ! -d "$1" ]; then
    die "$1 is not a data dir; prepare it first (stage 1)"
  fi
  "$tools/validate_data_dir.sh" --quiet --no-feats --no-wav --no-spk-sort --non-print --check-arks false "$1"
}

check_target() { # <data-dir> <source>...: stop if it is one of the sources
  local source
  for source in "${@:2}"; do
    if [ -e "$1" ] && [ "$1" -ef "$source" ]; then
      die "$1 is both source and destination; name another destination"
    fi
  done
}

make_work_dir() { # <data-dir>: set $work, a folder inside it that is removed when the script ends
  local left
  for left in "$1/.work.$HOSTNAME".*; do
    if [ -e "$left" ] && ! kill -0 "${left##*.}" 2>/dev/null; then
      rm -rf "$left" # of a script that was killed
    fi
  done
  mkdir -p "$1"
  work=$1/.work.$HOSTNAME.$$
  mkdir "$work"
  trap 'rm -rf "$work"; rmdir "${work%/*}" 2>/dev/null || true' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# list_files utt|spk|reco|other|all <data-dir>: print the names of its files, one a line: those keyed by utterance
# (without utt2spk), by speaker (without spk2utt), by recording, the settings of the features, or all of them.
list_files() {
  local path name kind
  for path in "$2"/*; do
    name=${path##*/}
    case $name in
      utt2spk | spk2utt) kind=main ;;
      wav.scp) kind=utt && if [ -e "$2/segments" ]; then kind=reco; fi ;;
      feats.scp | vad.scp | text | segments) kind=utt ;;
      reco2file_and_channel | reco2dur) kind=reco ;;
      cmvn.scp) kind=spk ;;
      fbank.yaml | frame_shift) kind=other ;;
      *[!A-Za-z0-9_]*) kind= ;;
      utt2?*) kind=utt ;;
      spk2?*) kind=spk ;;
      *) kind= ;;
    esac
    if [[ -n $kind && -f $path && ($1 == "$kind" || $1 == all) ]]; then
      printf '%s\n' "$name"
    fi
  done
}

filter_file() { # <ids> <from> <to>
  "$tools/filter_scp.pl" "$1" "$2" >"$3"
}

list_ids() { # <file>: print how many lines it has, and the first ids
  awk 'NR <= 10 { ids = ids " " $1 } END { print NR " (" substr(ids, 2) (NR > 10 ? " ..." : "") ")" }' "$1"
}

# rebase_scps <source> <work> [<data-dir>]: mend paths in the scps of <work> that came from <source>, for <data-dir>;
# without it, make them absolute.
rebase_scps() {
  local file
  for file in feats.scp vad.scp cmvn.scp; do
    if [ -e "$2/$file" ]; then
      "$tools/rebase_scp.pl" --from "$1" ${3:+--to "$3"} "$2/$file" >"$2/.rebased"
      mv -f "$2/.rebased" "$2/$file"
    fi
  done
}

make_spk2utt() { # <data-dir>: make spk2utt from utt2spk
  "$tools/utt2spk_to_spk2utt.pl" "$1/utt2spk" | sort >"$1/spk2utt"
}

filter_data_dir() { # <source> <utterances, sorted> <destination>: copy all files, with only these utterances
  local file ids=$2
  filter_file "$2" "$1/utt2spk" "$3/utt2spk"
  make_spk2utt "$3"
  for file in $(list_files utt "$1"); do
    filter_file "$2" "$1/$file" "$3/$file"
  done
  if [ -e "$3/segments" ]; then
    awk '{ print $2 }' "$3/segments" | sort -u >"$3/.recordings"
    ids=$3/.recordings
  fi
  for file in $(list_files reco "$1"); do
    filter_file "$ids" "$1/$file" "$3/$file"
  done
  for file in $(list_files spk "$1"); do
    filter_file "$3/spk2utt" "$1/$file" "$3/$file"
  done
  for file in $(list_files other "$1"); do
    cp "$1/$file" "$3/$file"
  done
  rm -f "$3/.recordings"
}

same_audio() { # <work> <data-dir>: are their utterances, speakers and audio the same?
  local file
  for file in utt2spk wav.scp segments; do
    if [[ -e $1/$file || -e $2/$file ]] && ! cmp -s "$1/$file" "$2/$file"; then
      return 1
    fi
  done
}

# install_data_dir <work> <data-dir> [keep]: move the files into place and remove those that are no longer right. Files
# made in <data-dir> from the same audio, such as features, stay; with `keep` they are not even replaced.
install_data_dir() {
  local file keep=${3:-}
  if ! same_audio "$1" "$2"; then
    keep=
    for file in $derived_files; do
      rm -f "$2/$file"
    done
  fi
  for file in $(list_files all "$2"); do
    if [[ $derived_files != *" $file "* && ! -e $1/$file ]]; then
      rm -f "$2/$file"
    fi
  done
  for file in $(list_files all "$1"); do
    if [[ $keep == keep && $derived_files == *" $file "* && -e $2/$file ]] || cmp -s "$1/$file" "$2/$file"; then
      continue
    fi
    mv -f "$1/$file" "$2/$file"
  done
}

# clean_trials <list> <to>: copy a trial list without byte-order mark, DOS line ends and empty lines, and print the
# field of its enroll ids, which the test ids follow: 2 in "1|0 enroll test".
clean_trials() {
  sed -e $'1s/^\xef\xbb\xbf//' -e 's/\r$//' -e '/^[[:space:]]*$/d' "$1" >"$2"
  awk 'NR == 1 { print NF == 3 && $1 ~ /^[01]$/ && $3 !~ /^([01]|target|nontarget)$/ ? 2 : 1 }' "$2"
}

trial_ids() { # <clean list> <field of enroll ids>
  awk -v enroll="$2" '{ print $enroll; print $(enroll + 1) }' "$1" | sort -u
}

# copy_trials <source> <destination> <utterances> [<prefix> <suffix>]: copy the trial lists that name only these
# utterances; their ids get the prefix and the suffix. An earlier copy of a list that is left out is removed.
copy_trials() {
  local list enroll ids=$work/.ids clean=$work/.clean
  for list in "$1"/trials/*; do
    if [[ ! -f $list ]]; then
      continue
    fi
    enroll=$(clean_trials "$list" "$clean")
    trial_ids "$clean" "$enroll" >"$ids"
    if [ -n "$("$tools/filter_scp.pl" --exclude "$3" "$ids" | awk 'NR == 1')" ]; then
      say "$list left out: it has utterances that are not in $2"
      rm -f "$2/trials/${list##*/}"
      continue
    fi
    mkdir -p "$2/trials"
    rename_ids "$enroll" "${4:-}" "${5:-}" <"$clean" | rename_ids $((enroll + 1)) "${4:-}" "${5:-}" >"$work/.trials"
    mv -f "$work/.trials" "$2/trials/${list##*/}"
  done
  rm -f "$ids" "$clean"
}

# rename_ids <field> <prefix> <suffix>, stdin to stdout: put them around that field; the rest of the line is kept. A
# prefix that begins with "/", as no id does, is a file of lines "id prefix".
rename_ids() {
  perl -pe 'BEGIN {
      ($field, $prefix, $suffix) = splice @ARGV;
      $skip = $field - 1;
      if ($prefix =~ m{^/}) {
        open my $own, "<", $prefix or die "$prefix cannot be read: $!\n";
        %own = map { split } <$own>;
        $prefix = "";
      }
    }
    s/^((?:\S+[ \t]+){$skip})(\S+)/$1 . ($own{$2} \/\/ $prefix) . $2 . $suffix/e' "$@"
}

# rename_data_dir <source> <destination> [<file to leave out>...]: copy all tables, with ids renamed by $utt_prefix,
# $utt_suffix, $spk_prefix, $spk_suffix and $reco_prefix (for the recordings of segments), and sorted again.
rename_data_dir() {
  local file id=("${utt_prefix:-}" "${utt_suffix:-}") spk=("${spk_prefix:-}" "${spk_suffix:-}") left_out=" ${*:3} "
  local reco=("${id[@]}")
  rename_ids 1 "${id[@]}" <"$1/utt2spk" | rename_ids 2 "${spk[@]}" | sort >"$2/utt2spk"
  make_spk2utt "$2"
  if [ -e "$1/segments" ]; then
    reco=("${reco_prefix:-}" "")
  fi
  for file in $(list_files utt "$1"); do
    if [[ $left_out != *" $file "* ]]; then
      rename_ids 1 "${id[@]}" <"$1/$file" | sort >"$2/$file"
    fi
  done
  if [ -e "$1/segments" ]; then
    rename_ids 1 "${id[@]}" <"$1/segments" | rename_ids 2 "${reco[@]}" | sort >"$2/segments"
  fi
  for file in $(list_files reco "$1"); do
    rename_ids 1 "${reco[@]}" <"$1/$file" | sort >"$2/$file"
  done
  for file in $(list_files spk "$1"); do
    if [[ $left_out != *" $file "* ]]; then
      rename_ids 1 "${spk[@]}" <"$1/$file" | sort >"$2/$file"
    fi
  done
  if [[ -n ${id[0]}${id[1]} && ${id[0]} != /* && ! -e $1/utt2uniq ]]; then
    awk '{ print $1, $1 }' "$1/utt2spk" | rename_ids 1 "${id[@]}" | sort >"$2/utt2uniq"
  fi
}

check_result() { # <work> <data-dir> [<option of validate_data_dir.sh>...]: check what will be moved into the data dir
  "$tools/validate_data_dir.sh" --quiet --no-feats --no-wav --check-arks false --shown-as "$2" "${@:3}" "$1"
}
