# bash completion for ctlctl: source it, or put it in bash-completion's completions folder
_ctlctl_complete() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <("$1" __complete bash "$2" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -o nosort -F _ctlctl_complete ctlctl
