package chunk

import "strings"

// form is what a text looks like, as far as cutting it is concerned.
type form uint8

const (
	prose    form = iota // paragraphs and sentences
	markdown             // prose with headings and fenced code
	code                 // declarations, blank lines, indentation
	lines                // one record a line
)

var forms = map[form]string{
	markdown: "md markdown mdown mkd mdx qmd rmd",
	code: "ada adb ads asm awk bash bat bzl c cc cfg clj cljs cmake cmd conf cpp cs css cu cuh cxx dart diff ebnf el elm erl ex exs " +
		"f90 fs fsx gd glsl go gradle graphql groovy h hcl hh hlsl hpp hrl hs html hxx ini java jl js json jsx kt kts less lisp lua " +
		"m mjs mk ml mli mm mod nim nix pas patch php pl pm proto ps1 py pyi r rb rs s sass scala scm scss sh sol sql sum sv svelte " +
		"swift tcl tex tf thrift toml ts tsx v vb vhd vhdl vim vue wat wgsl xhtml xml xsd xsl yaml yml zig zsh",
	lines: "csv jsonl log ndjson tsv",
}

// byExtension is forms turned round.
var byExtension = func() map[string]form {
	m := map[string]form{"makefile": code, "dockerfile": code, "gnumakefile": code, "cmakelists.txt": code}
	for f, list := range forms {
		for _, ext := range strings.Fields(list) {
			m[ext] = f
		}
	}
	return m
}()

// formOf tells the form of a file from its name alone: the extension, or for a few the whole name. Unknown is prose.
func formOf(path string) form {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if len(name) > 64 {
		name = name[len(name)-64:]
	}
	name = strings.ToLower(name)
	if f, ok := byExtension[name]; ok {
		return f
	}
	return byExtension[name[strings.LastIndexByte(name, '.')+1:]]
}
