package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd is "kith completion".
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints the script of a shell, made from the commands themselves.
func (c completionCmd) Run(a *app) error {
	words := map[string][]string{}
	collect(a.kong.Model.Node, "", words)
	var b strings.Builder
	switch c.Shell {
	case "bash":
		bashScript(&b, words)
	case "zsh":
		b.WriteString("#compdef kith\nautoload -U +X bashcompinit && bashcompinit\n")
		bashScript(&b, words)
	case "fish":
		fishScript(&b, a.kong.Model.Node)
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// collect lists, for each command path, the words that may follow.
func collect(n *kong.Node, path string, into map[string][]string) {
	for _, child := range n.Children {
		if child.Hidden {
			continue
		}
		into[path] = append(into[path], child.Name)
		collect(child, strings.TrimSpace(path+" "+child.Name), into)
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			into[path] = append(into[path], "--"+f.Name)
		}
	}
}

func bashScript(b *strings.Builder, words map[string][]string) {
	b.WriteString(`# completion of kith for bash: source <(kith completion bash)
_kith() {
  local cur=${COMP_WORDS[COMP_CWORD]} path="" w i
  for ((i = 1; i < COMP_CWORD; i++)); do
    w=${COMP_WORDS[i]}
    [[ $w == -* ]] || path="$path $w"
  done
  path=${path# }
  while :; do
    case "$path" in
`)
	for _, path := range sortedKeys(words) {
		fmt.Fprintf(b, "      %q) COMPREPLY=($(compgen -W %q -- \"$cur\")); break ;;\n", path, strings.Join(words[path], " "))
	}
	b.WriteString(`    esac
    [[ -z $path ]] && break
    [[ $path == *" "* ]] && path=${path% *} || path=""
  done
  [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur"))
}
complete -o filenames -F _kith kith
`)
}

func fishScript(b *strings.Builder, root *kong.Node) {
	b.WriteString("# completion of kith for fish: kith completion fish | source\n")
	var names []string
	for _, c := range root.Children {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	for _, c := range root.Children {
		if c.Hidden {
			continue
		}
		fmt.Fprintf(b, "complete -c kith -n 'not __fish_seen_subcommand_from %s' -a %s -d %s\n", strings.Join(names, " "), c.Name, fishQuote(c.Help))
		for _, sub := range c.Children {
			fmt.Fprintf(b, "complete -c kith -n '__fish_seen_subcommand_from %s' -a %s -d %s\n", c.Name, sub.Name, fishQuote(sub.Help))
		}
		for _, f := range c.Flags {
			if !f.Hidden {
				fmt.Fprintf(b, "complete -c kith -n '__fish_seen_subcommand_from %s' -l %s -d %s\n", c.Name, f.Name, fishQuote(f.Help))
			}
		}
	}
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func sortedKeys(m map[string][]string) []string { return slices.Sorted(maps.Keys(m)) }
