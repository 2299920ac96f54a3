# fish completion for ctlctl: source it, or put it in ~/.config/fish/completions/ctlctl.fish
function __ctlctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete fish $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c ctlctl -f -a '(__ctlctl_complete)'
