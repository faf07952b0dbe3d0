package lang

import (
	"bytes"
	"strings"
)

// CodePrefix begins the tag of everything that is written for machines: "code:go", "code:json".
const CodePrefix = "code:"

// names maps whole file names, in lower case, to what they hold.
var names = map[string]string{
	"makefile": "makefile", "gnumakefile": "makefile", "dockerfile": "dockerfile", "containerfile": "dockerfile",
	"cmakelists.txt": "cmake", "gemfile": "ruby", "rakefile": "ruby", "vagrantfile": "ruby", "jenkinsfile": "groovy",
	"go.mod": "gomod", "go.sum": "gomod", "go.work": "gomod", "pkgbuild": "shell", ".bashrc": "shell", ".profile": "shell",
	".zshrc": "shell", "build.bazel": "starlark", "workspace": "starlark", ".gitignore": "ini", ".editorconfig": "ini",
}

// extensions maps the ends of file names, in lower case, to what they hold. Extensions of several languages are left
// to the content, see ambiguous; .txt, .md and the like hold prose as often as not and are left to it altogether.
var extensions = map[string]string{
	"ada": "ada", "adb": "ada", "ads": "ada", "asm": "assembly", "s": "assembly", "awk": "awk", "bash": "shell",
	"bat": "batch", "c": "c", "cc": "cpp", "cfg": "ini", "clj": "clojure", "cmake": "cmake", "cmd": "batch", "cob": "cobol",
	"coffee": "coffeescript", "conf": "ini", "cpp": "cpp", "cs": "csharp", "css": "css", "csv": "csv", "cu": "cuda",
	"cxx": "cpp", "d": "d", "dart": "dart", "diff": "diff", "el": "lisp", "elm": "elm", "erl": "erlang", "ex": "elixir",
	"exs": "elixir", "f": "fortran", "f90": "fortran", "fs": "fsharp", "go": "go", "gql": "graphql", "gradle": "groovy",
	"graphql": "graphql", "groovy": "groovy", "hh": "cpp", "hpp": "cpp", "hs": "haskell", "htm": "html", "html": "html",
	"hxx": "cpp", "ini": "ini", "ipynb": "json", "java": "java", "jl": "julia", "js": "javascript", "json": "json",
	"jsonl": "json", "jsx": "javascript", "kt": "kotlin", "kts": "kotlin", "less": "css", "lisp": "lisp", "lua": "lua",
	"mjs": "javascript", "cjs": "javascript", "mk": "makefile", "ml": "ocaml", "mli": "ocaml", "mm": "objectivec",
	"ndjson": "json", "nim": "nim", "nix": "nix", "pas": "pascal", "patch": "diff", "php": "php", "plist": "xml",
	"pm": "perl", "properties": "ini", "proto": "protobuf", "ps1": "powershell", "py": "python", "pyi": "python",
	"pyx": "python", "r": "r", "rb": "ruby", "rkt": "lisp", "rs": "rust", "sass": "css", "scala": "scala", "scm": "lisp",
	"scss": "css", "sh": "shell", "sol": "solidity", "sql": "sql", "svelte": "javascript", "svg": "xml", "swift": "swift",
	"tcl": "tcl", "tex": "latex", "tf": "terraform", "toml": "toml", "tsv": "csv", "tsx": "typescript", "ts": "typescript",
	"vb": "vb", "vhd": "vhdl", "vhdl": "vhdl", "vim": "vim", "vue": "javascript", "wat": "wasm", "xml": "xml", "xsd": "xml",
	"xsl": "xml", "yaml": "yaml", "yml": "yaml", "zig": "zig", "zsh": "shell",
}

// prose are the extensions of text that is marked up by its writer: what is code in it is an example.
var prose = map[string]bool{"md": true, "markdown": true, "rst": true, "adoc": true, "org": true, "po": true, "srt": true, "eml": true}

// ambiguous maps extensions of several languages to them, the usual one first.
var ambiguous = map[string][]string{
	"h":  {"c", "cpp", "objectivec"},
	"m":  {"objectivec", "matlab"},
	"pl": {"perl", "prolog"},
	"v":  {"verilog", "coq"},
}

// interpreters maps the program after #! to its language.
var interpreters = map[string]string{
	"sh": "shell", "bash": "shell", "dash": "shell", "zsh": "shell", "ksh": "shell", "python": "python", "perl": "perl",
	"ruby": "ruby", "node": "javascript", "deno": "typescript", "php": "php", "lua": "lua", "awk": "awk", "gawk": "awk",
	"make": "makefile", "rscript": "r", "tclsh": "tcl", "pwsh": "powershell", "runghc": "haskell", "julia": "julia",
	"guile": "lisp", "groovy": "groovy", "swift": "swift", "osascript": "applescript", "sed": "sed",
}

// isProse reports whether a file of this name holds prose whatever it looks like.
func isProse(path string) bool {
	return prose[strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])]
}

// byName tells the language from the name of the file, or returns "".
func byName(path string, data []byte) string {
	name := strings.ToLower(path[strings.LastIndexAny(path, `/\`)+1:])
	if l := names[name]; l != "" {
		return l
	}
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ""
	}
	ext := name[dot+1:]
	if l := extensions[ext]; l != "" {
		return l
	}
	candidates := ambiguous[ext]
	if candidates == nil {
		return ""
	}
	best, most := candidates[0], 0
	scores := marks(data)
	for _, l := range candidates {
		if scores[l] > most {
			best, most = l, scores[l]
		}
	}
	return best
}

// byContent tells the language from the text alone, or returns "" if it does not look like code.
func byContent(data []byte) string {
	if l := shebang(data); l != "" {
		return l
	}
	trimmed := bytes.TrimLeft(data, " \t\r\n\ufeff")
	if len(trimmed) == 0 {
		return ""
	}
	for _, p := range prefixes {
		if len(trimmed) >= len(p.text) && strings.EqualFold(string(trimmed[:len(p.text)]), p.text) {
			return p.lang
		}
	}
	if looksJSON(trimmed) {
		return "json"
	}
	if looksYAML(data) {
		return "yaml"
	}
	if !dense(data) || bytes.Contains(data, []byte("\n```")) { // prose, or prose with examples
		return ""
	}
	scores := marks(data)
	best, most := "", minMarks-1
	for _, l := range marked { // in fixed order, so that ties are settled
		if scores[l] > most {
			best, most = l, scores[l]
		}
	}
	return best
}

var prefixes = []struct{ text, lang string }{
	{"<?php", "php"},
	{"<?xml", "xml"},
	{"<!doctype html", "html"},
	{"<html", "html"},
	{"%PDF-", "pdf"},
	{"diff --git ", "diff"},
	{"\\documentclass", "latex"},
}

func shebang(data []byte) string {
	if !bytes.HasPrefix(data, []byte("#!")) {
		return ""
	}
	line, _, _ := bytes.Cut(data[2:min(len(data), 256)], []byte("\n"))
	for i, word := range strings.Fields(string(line)) {
		word = strings.ToLower(word[strings.LastIndexByte(word, '/')+1:])
		if i == 0 && word == "env" || strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		return interpreters[strings.TrimRight(word, "0123456789.")]
	}
	return ""
}

// looksJSON reports whether trimmed begins like a JSON object or array of some.
func looksJSON(trimmed []byte) bool {
	if trimmed[0] != '{' && trimmed[0] != '[' {
		return false
	}
	rest := bytes.TrimLeft(trimmed[1:], " \t\r\n")
	if len(rest) == 0 {
		return false
	}
	switch {
	case trimmed[0] == '[':
		return rest[0] == '{' || rest[0] == '"' && bytes.IndexByte(rest[1:], '"') >= 0
	case rest[0] == '}':
		return true
	case rest[0] != '"':
		return false
	}
	end := bytes.IndexByte(rest[1:], '"')
	if end < 0 {
		return false
	}
	rest = bytes.TrimLeft(rest[end+2:], " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}

// looksYAML reports whether most lines of data are `name: value`, `name:` or `- item`, at least three of them of the
// first two forms.
func looksYAML(data []byte) bool {
	lines, keys, items := 0, 0, 0
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || bytes.Equal(line, []byte("---")) {
			continue
		}
		lines++
		line, item := bytes.CutPrefix(line, []byte("- "))
		n := 0
		for n < len(line) && (line[n] == '_' || line[n] == '-' || line[n] == '.' || line[n] == '/' || isAlphanumeric(line[n])) {
			n++
		}
		switch {
		case n > 0 && n < len(line) && line[n] == ':' && (n+1 == len(line) || line[n+1] == ' '):
			keys++
		case item:
			items++
		}
	}
	return keys >= 3 && (keys+items)*10 >= lines*7
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// dense reports whether the text has the punctuation of code: prose has next to none of it.
func dense(data []byte) bool {
	visible, signs := 0, 0
	for _, c := range data {
		if c > ' ' {
			visible++
			if codeSigns[c] {
				signs++
			}
		}
	}
	return visible >= 16 && signs*100 >= visible*4
}

var codeSigns = func() (t [256]bool) {
	for _, c := range []byte("{}()[]<>;=_$#&|*/\\:@%+\"^~`") {
		t[c] = true
	}
	return t
}()

// minMarks is the least score of a text that is called code.
const minMarks = 5

// A mark is a piece of text that speaks for a language. It counts at most three times.
type mark struct {
	text   string
	weight int
}

// marked lists the languages of the table of marks: of two with the same score the earlier one counts.
var marked = []string{
	"go", "python", "c", "cpp", "java", "csharp", "javascript", "typescript", "rust", "ruby", "php", "shell", "perl", "sql",
	"html", "css", "lua", "kotlin", "swift", "scala", "haskell", "r", "latex", "yaml", "toml", "dockerfile", "makefile",
	"diff", "objectivec", "matlab", "xml",
}

// marks scores the languages by the first bytes of a text.
func marks(data []byte) map[string]int {
	text := data[:min(len(data), 2<<10)]
	scores := make(map[string]int, 8)
	for _, l := range marked {
		for _, m := range anywhere[l] {
			if n := bytes.Count(text, []byte(m.text)); n > 0 {
				scores[l] += min(n, 3) * m.weight
			}
		}
	}
	seen := map[string]int{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimLeft(line, " \t")
		n := 0
		for n < len(line) && line[n] != ' ' && line[n] != '\n' && line[n] != '\t' && line[n] != '\r' {
			n++
		}
		if n > 12 {
			continue
		}
		for _, s := range lineStart[string(line[:n])] {
			word := s.text + string(line[:n])
			if seen[word] < 3 {
				seen[word]++
				scores[s.text] += s.weight
			}
		}
	}
	return scores
}

// lineStart maps the first word of a line to the languages it speaks for.
var lineStart = map[string][]mark{
	"package": {{"go", 2}, {"java", 1}, {"kotlin", 1}, {"scala", 1}}, "func": {{"go", 3}, {"swift", 2}}, "defer": {{"go", 2}},
	"import": {{"go", 1}, {"python", 1}, {"java", 1}, {"javascript", 1}, {"typescript", 1}, {"kotlin", 1}, {"swift", 1}, {"haskell", 1}, {"scala", 1}},
	"type":   {{"go", 1}, {"typescript", 1}, {"haskell", 1}}, "def": {{"python", 2}, {"ruby", 2}, {"scala", 2}}, "elif": {{"python", 3}, {"shell", 1}},
	"class": {{"python", 1}, {"java", 1}, {"cpp", 1}, {"csharp", 1}, {"javascript", 1}, {"typescript", 1}, {"php", 1}, {"ruby", 1}, {"kotlin", 1}, {"swift", 1}, {"scala", 1}},
	"from":  {{"python", 1}}, "try:": {{"python", 3}}, "else:": {{"python", 3}}, "except": {{"python", 2}}, "@property": {{"python", 3}},
	"return":   {{"go", 1}, {"python", 1}, {"c", 1}, {"cpp", 1}, {"java", 1}, {"csharp", 1}, {"javascript", 1}, {"typescript", 1}, {"php", 1}, {"lua", 1}},
	"#include": {{"c", 4}, {"cpp", 4}}, "#define": {{"c", 3}, {"cpp", 3}}, "#ifdef": {{"c", 2}, {"cpp", 2}}, "#ifndef": {{"c", 2}, {"cpp", 2}},
	"#endif": {{"c", 2}, {"cpp", 2}}, "#import": {{"objectivec", 4}}, "@interface": {{"objectivec", 5}}, "@end": {{"objectivec", 4}},
	"static": {{"c", 2}, {"cpp", 1}, {"java", 1}}, "struct": {{"c", 1}, {"cpp", 1}, {"rust", 1}, {"swift", 1}}, "typedef": {{"c", 3}, {"cpp", 2}},
	"int": {{"c", 2}, {"cpp", 2}, {"java", 1}, {"csharp", 1}}, "void": {{"c", 2}, {"cpp", 2}}, "char": {{"c", 2}}, "unsigned": {{"c", 2}},
	"template": {{"cpp", 3}}, "namespace": {{"cpp", 2}, {"csharp", 2}, {"php", 1}}, "public:": {{"cpp", 4}}, "private:": {{"cpp", 4}},
	"using": {{"cpp", 1}, {"csharp", 2}}, "public": {{"java", 2}, {"csharp", 2}, {"typescript", 1}, {"php", 1}}, "private": {{"java", 2}, {"csharp", 2}, {"php", 1}, {"kotlin", 1}, {"swift", 1}},
	"@Override": {{"java", 5}}, "fn": {{"rust", 3}}, "pub": {{"rust", 3}}, "impl": {{"rust", 3}}, "use": {{"rust", 1}, {"perl", 1}, {"php", 1}},
	"mod": {{"rust", 2}}, "let": {{"rust", 1}, {"javascript", 2}, {"typescript", 2}, {"swift", 2}}, "match": {{"rust", 1}},
	"const": {{"javascript", 2}, {"typescript", 2}, {"go", 1}, {"rust", 1}, {"cpp", 1}}, "var": {{"javascript", 2}, {"go", 1}, {"csharp", 1}, {"swift", 2}, {"kotlin", 1}},
	"function": {{"javascript", 3}, {"typescript", 2}, {"php", 2}, {"lua", 3}}, "export": {{"javascript", 2}, {"typescript", 2}, {"shell", 2}},
	"async": {{"javascript", 2}, {"typescript", 2}, {"python", 1}}, "interface": {{"typescript", 3}, {"java", 1}, {"csharp", 1}},
	"require": {{"ruby", 2}}, "end": {{"ruby", 2}, {"lua", 2}}, "puts": {{"ruby", 3}}, "module": {{"ruby", 2}, {"haskell", 2}}, "unless": {{"ruby", 1}},
	"local": {{"lua", 3}, {"shell", 1}}, "then": {{"shell", 2}}, "fi": {{"shell", 3}}, "done": {{"shell", 3}}, "esac": {{"shell", 4}}, "echo": {{"shell", 2}, {"php", 1}},
	"set": {{"shell", 1}}, "sub": {{"perl", 3}}, "my": {{"perl", 1}}, "SELECT": {{"sql", 4}}, "INSERT": {{"sql", 4}}, "CREATE": {{"sql", 4}},
	"UPDATE": {{"sql", 3}}, "DELETE": {{"sql", 3}}, "ALTER": {{"sql", 4}}, "select": {{"sql", 2}}, "FROM": {{"sql", 2}, {"dockerfile", 3}},
	"WHERE": {{"sql", 3}}, "RUN": {{"dockerfile", 4}}, "COPY": {{"dockerfile", 4}}, "CMD": {{"dockerfile", 4}}, "WORKDIR": {{"dockerfile", 4}},
	"ENTRYPOINT": {{"dockerfile", 4}}, "fun": {{"kotlin", 4}}, "val": {{"kotlin", 2}, {"scala", 2}}, "object": {{"scala", 2}, {"kotlin", 1}},
	"case": {{"scala", 1}, {"go", 1}, {"shell", 1}}, "guard": {{"swift", 3}}, "data": {{"haskell", 2}}, "where": {{"haskell", 2}}, "instance": {{"haskell", 3}},
	"---": {{"yaml", 1}}, "+++": {{"diff", 3}}, "@@": {{"diff", 4}}, ".PHONY:": {{"makefile", 5}}, "body": {{"css", 2}}, "@media": {{"css", 4}},
}

// anywhere maps languages to texts that speak for them wherever they stand.
var anywhere = map[string][]mark{
	"go":         {{":= ", 2}, {"err != nil", 4}, {"func(", 1}, {"interface{", 2}, {"struct {", 1}, {"fmt.", 2}, {"go func", 3}, {"chan ", 1}},
	"python":     {{"self.", 2}, {"__init__", 4}, {" None", 1}, {"print(", 1}, {"):\n", 2}, {"\"\"\"", 2}, {"import numpy", 4}, {" in range(", 3}, {" as np", 3}},
	"c":          {{"printf(", 2}, {"->", 1}, {" NULL", 2}, {"sizeof(", 2}, {"char *", 3}, {"int main(", 4}, {"malloc(", 3}, {"(void)", 2}},
	"cpp":        {{"std::", 4}, {"cout <<", 4}, {"<iostream>", 4}, {"nullptr", 3}, {"virtual ", 2}, {"template<", 3}, {"->", 1}, {"int main(", 3}, {" const&", 2}},
	"java":       {{"System.out.", 4}, {"public static void", 4}, {"import java", 4}, {"throws ", 1}, {"String ", 1}, {"public class", 2}, {"private final", 2}},
	"csharp":     {{"using System", 5}, {"Console.", 4}, {"get; set;", 5}, {"public class", 2}, {"string ", 1}, {"foreach (", 2}, {"async Task", 3}},
	"javascript": {{"=> ", 1}, {"===", 2}, {"console.log", 4}, {"document.", 2}, {"require('", 3}, {"module.exports", 4}, {"function(", 2}, {"function (", 2}, {"await ", 1}},
	"typescript": {{": string", 3}, {": number", 3}, {": boolean", 3}, {"=> ", 1}, {"===", 2}, {"import type", 4}, {"readonly ", 2}, {": void", 2}, {"console.log", 2}},
	"rust":       {{"let mut ", 4}, {"println!", 4}, {"&mut ", 2}, {"&str", 3}, {"::new(", 2}, {"Some(", 1}, {".unwrap()", 3}, {"-> Result", 3}, {"&self", 3}, {"vec![", 3}},
	"ruby":       {{" do |", 3}, {".each ", 2}, {"attr_", 3}, {".nil?", 3}, {"require '", 2}, {"puts ", 1}},
	"php":        {{"$this->", 5}, {"<?php", 6}, {"$_GET", 5}, {"$_POST", 5}, {"$_SERVER", 5}, {"function ", 1}, {"->", 1}},
	"shell":      {{"$(", 2}, {"\"$", 2}, {"${", 1}, {"; then", 4}, {"; do", 3}, {"if [ ", 3}, {"if [[", 3}, {"$1", 2}, {" || ", 1}, {"apt-get ", 2}},
	"perl":       {{"my $", 4}, {"use strict", 5}, {" =~ ", 3}, {"@_", 3}, {"shift;", 2}, {"my @", 3}},
	"sql":        {{" FROM ", 2}, {" WHERE ", 2}, {"CREATE TABLE", 4}, {" VALUES ", 3}, {"NOT NULL", 3}, {"PRIMARY KEY", 4}, {" JOIN ", 3}, {" from ", 1}},
	"html":       {{"<div", 3}, {"</div>", 3}, {"<p>", 2}, {"<body", 4}, {"</a>", 2}, {"<span", 2}, {"<li>", 2}, {"<br", 1}, {"<script", 3}},
	"css":        {{"color:", 2}, {"margin:", 3}, {"padding:", 3}, {"px;", 3}, {"font-", 2}, {"display:", 3}},
	"lua":        {{" then\n", 1}, {"~=", 2}, {"local function", 4}, {" .. ", 1}, {"ipairs(", 4}, {"pairs(", 3}},
	"kotlin":     {{"fun ", 2}, {"val ", 1}, {"?.", 1}, {"when (", 2}, {": String", 1}, {"println(", 1}, {"data class", 3}},
	"swift":      {{"import Foundation", 5}, {"import UIKit", 5}, {"if let ", 3}, {" -> ", 1}, {": String", 1}, {"guard let", 4}, {"nil", 1}},
	"scala":      {{"case class", 3}, {"extends App", 4}, {": String", 1}, {"=> ", 1}, {"println(", 1}, {"Option[", 3}, {"def main(args", 3}},
	"haskell":    {{" :: ", 3}, {" -> ", 1}, {"import qualified", 4}, {"deriving ", 4}, {" <- ", 1}, {"putStrLn", 4}},
	"r":          {{" <- ", 2}, {"library(", 4}, {"function(", 1}, {" <- function(", 4}, {"data.frame(", 4}, {"ggplot(", 4}},
	"latex":      {{"\\begin{", 5}, {"\\section{", 5}, {"\\usepackage", 5}, {"\\cite{", 3}, {"\\textbf{", 3}},
	"yaml":       {{"\n- name: ", 3}, {"apiVersion: ", 5}, {":\n  - ", 2}, {"\nversion: ", 2}, {": true\n", 2}},
	"toml":       {{"\n[package]", 5}, {"\n[dependencies]", 5}, {"\n[tool.", 5}, {"\nversion = \"", 3}},
	"makefile":   {{"$(CC)", 5}, {"\n\t@", 3}, {"$@", 2}, {"$<", 2}, {":\n\t", 2}},
	"diff":       {{"\n--- a/", 5}, {"\n+++ b/", 5}, {"\n@@ -", 5}},
	"objectivec": {{"@implementation", 6}, {"@property (", 4}, {"NSString", 5}, {"[[", 1}},
	"matlab":     {{"\nend\n", 1}, {"zeros(", 2}, {"fprintf(", 2}, {"; %", 2}, {"disp(", 3}},
	"xml":        {{"xmlns", 5}, {"/>", 2}, {"</", 1}},
}
