# bash completion for accretectl and accreted. Commands and options are read from the tool's own
# --help, so there is no list here that could grow old; names of tasks come from the configuration.

# _accrete_section HELP TITLE: the lines of one section of a help text.
_accrete_section() {
  awk -v title="$2:" '$0 == title { inside = 1; next } /^[^ ]/ || /^$/ { inside = 0 } inside' \
    <<<"$1"
}

# _accrete_names HELP TITLE: what stands first on the lines of a section, indented by two blanks.
_accrete_names() {
  _accrete_section "$1" "$2" | awk '/^  [^ ]/ { gsub(",", "\n", $1); print $1 }'
}

# _accrete_kind HELP OPTION: the type of an option's value, nothing for a flag. One blank stands
# before a type, more before a description.
_accrete_kind() {
  _accrete_section "$1" Options | awk -v option="$2" '
    /^  -/ {
      count = split($1, names, ",")
      for (i = 1; i <= count; ++i) {
        if (names[i] == option && match($0, /^  [^ ]+ [A-Z][A-Z]+/)) {
          sub(/[=:].*/, "", $2)
          print $2
        }
      }
    }'
}

# _accrete_tasks ACCRETECTL CONFIG: the names of the tasks in a configuration.
_accrete_tasks() {
  "$1" config "$2" 2>/dev/null |
    awk '/^\[/ { task = ($0 == "[[task]]") } task && sub(/^name = "/, "") { sub(/"$/, ""); print }'
}

_accrete_offer() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_accrete_offer_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_accrete() {
  local tool=$1 current=$2 help word kind="" option="" config=/etc/accreted/accreted.toml
  local position=0 i names place path=()
  COMPREPLY=()
  help=$("$tool" --help 2>/dev/null) || return
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ $word == = ]]; then continue; fi
    if [[ -n $kind ]]; then # the value of the option before it
      if [[ $option == --config ]]; then config=${word/#\~/$HOME}; fi
      kind=""
    elif [[ $word == -* ]]; then
      option=$word
      kind=$(_accrete_kind "$help" "$option")
    elif _accrete_names "$help" Subcommands | grep -qxF -- "$word"; then
      path+=("$word")
      help=$("$tool" "${path[@]}" --help 2>/dev/null)
    else
      ((++position))
    fi
  done
  if [[ $current == = ]]; then current=""; fi
  if [[ -n $kind ]]; then
    if [[ $kind == TEXT ]]; then _accrete_offer_files "$current"; fi
    return
  fi
  if [[ $current == -* ]]; then
    _accrete_offer "$(_accrete_names "$help" Options)" "$current"
    return
  fi
  names=$(_accrete_names "$help" Subcommands)
  if [[ -n $names ]]; then
    _accrete_offer "$names" "$current"
    return
  fi
  mapfile -t names < <(_accrete_names "$help" Positionals)
  place=${names[position < ${#names[@]} ? position : ${#names[@]} - 1]}
  case $place in
    task) _accrete_offer "$(_accrete_tasks "$tool" "$config")" "$current" ;;
    "" | key*) ;;
    *) _accrete_offer_files "$current" ;;
  esac
}

complete -F _accrete accretectl accreted
