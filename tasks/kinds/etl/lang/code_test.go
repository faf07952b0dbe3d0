package lang

import (
	"strings"
	"testing"
)

// snippets hold code without anything that names its language, at least three a language for the usual ones.
var snippets = map[string][]string{
	"go": {
		"package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfor i := range 10 {\n\t\tfmt.Println(i)\n\t}\n}\n",
		"func (s *Store) Get(key string) ([]byte, error) {\n\tv, err := s.db.Get(key)\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\treturn v, nil\n}\n",
		"type Point struct {\n\tX, Y int\n}\n\nfunc (p Point) Add(q Point) Point {\n\treturn Point{p.X + q.X, p.Y + q.Y}\n}\n\nvar zero = Point{}\n",
	},
	"python": {
		"import os\nimport sys\n\ndef main():\n    for name in os.listdir('.'):\n        print(name)\n\nif __name__ == '__main__':\n    main()\n",
		"class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n",
		"def mean(xs):\n    if not xs:\n        return None\n    return sum(xs) / len(xs)\n\nprint(mean([1, 2, 3]))\n",
	},
	"c": {
		"#include <stdio.h>\n\nint main(void)\n{\n    printf(\"hello\\n\");\n    return 0;\n}\n",
		"static void push(struct stack *s, int v)\n{\n    if (s->len == s->cap)\n        s->data = realloc(s->data, (s->cap *= 2) * sizeof(int));\n    s->data[s->len++] = v;\n}\n",
		"#ifndef LIST_H\n#define LIST_H\n\ntypedef struct list list;\nlist *list_new(void);\nvoid list_free(list *l);\n\n#endif\n",
	},
	"cpp": {
		"#include <iostream>\n\nint main() {\n    std::cout << \"hello\" << std::endl;\n}\n",
		"template <typename T>\nclass Stack {\npublic:\n    void push(const T& v) { items.push_back(v); }\nprivate:\n    std::vector<T> items;\n};\n",
		"namespace geo {\nstd::unique_ptr<Shape> make(const std::string& name) {\n    if (name.empty()) return nullptr;\n    return std::make_unique<Circle>();\n}\n}\n",
	},
	"java": {
		"public class Hello {\n    public static void main(String[] args) {\n        System.out.println(\"hello\");\n    }\n}\n",
		"package org.example;\n\nimport java.util.List;\n\npublic interface Shop {\n    List<String> items();\n}\n",
		"    @Override\n    public String toString() {\n        return \"Point(\" + x + \", \" + y + \")\";\n    }\n\n    private final int x;\n",
	},
	"javascript": {
		"const fs = require('fs');\n\nfs.readFile('a.txt', (err, data) => {\n  if (err) throw err;\n  console.log(data.toString());\n});\n",
		"export default function add(a, b) {\n  return a + b;\n}\n\nlet x = add(1, 2);\nif (x === 3) { document.title = 'ok'; }\n",
		"var app = {};\nfunction start() {\n  var el = document.getElementById('x');\n  el.addEventListener('click', function () { alert(1); });\n}\n",
	},
	"typescript": {
		"interface User {\n  name: string;\n  age: number;\n}\n\nexport function greet(u: User): string {\n  return `hi ${u.name}`;\n}\n",
		"import type { Config } from './config';\n\nexport const load = async (path: string): Promise<Config> => {\n  return JSON.parse(await read(path));\n};\n",
	},
	"rust": {
		"fn main() {\n    let mut v = vec![1, 2, 3];\n    v.push(4);\n    println!(\"{:?}\", v);\n}\n",
		"pub struct Point { x: i32, y: i32 }\n\nimpl Point {\n    pub fn new(x: i32, y: i32) -> Self {\n        Point { x, y }\n    }\n}\n",
		"use std::fs;\n\nfn read(path: &str) -> Result<String, std::io::Error> {\n    let s = fs::read_to_string(path)?;\n    Ok(s)\n}\n",
	},
	"csharp": {
		"using System;\n\nnamespace App\n{\n    public class Program\n    {\n        static void Main() { Console.WriteLine(\"hello\"); }\n    }\n}\n",
	},
	"ruby": {
		"require 'json'\n\nclass Dog\n  attr_accessor :name\n  def bark\n    puts \"#{@name} barks\"\n  end\nend\n",
		"[1, 2, 3].each do |x|\n  puts x * 2 unless x.nil?\nend\n",
	},
	"php": {
		"<?php\necho 'hello';\n",
		"class A {\n    public function run() {\n        $this->count = $this->count + 1;\n        return $this->count;\n    }\n}\n",
	},
	"shell": {
		"#!/bin/sh\nls -l\n",
		"set -e\nif [ -z \"$1\" ]; then\n  echo \"usage: $0 file\"\n  exit 1\nfi\nfor f in *.txt; do\n  wc -l \"$f\"\ndone\n",
	},
	"perl":       {"#!/usr/bin/env perl\nprint 1;\n", "use strict;\nmy @a = (1, 2);\nsub add {\n    my ($x, $y) = @_;\n    return $x + $y;\n}\n"},
	"sql":        {"SELECT name, age\nFROM users\nWHERE age > 18\nORDER BY name;\n", "CREATE TABLE t (\n  id INTEGER PRIMARY KEY,\n  name TEXT NOT NULL\n);\n"},
	"html":       {"<!DOCTYPE html>\n<title>x</title>\n", "<div class=\"a\"><p>Hello <span>world</span></p>\n<ul><li>one</li></ul></div>\n"},
	"css":        {"body {\n  color: red;\n  margin: 0;\n  padding: 4px;\n}\n.a { display: none; font-size: 12px; }\n"},
	"lua":        {"local function add(a, b)\n  return a + b\nend\nfor i, v in ipairs({1, 2}) do print(add(i, v)) end\n"},
	"kotlin":     {"fun main() {\n    val names = listOf(\"a\", \"b\")\n    names.forEach { println(it) }\n}\n\ndata class P(val x: Int)\n"},
	"swift":      {"import Foundation\n\nfunc add(a: Int, b: Int) -> Int {\n    return a + b\n}\nif let x = Int(\"3\") { print(x) }\n"},
	"haskell":    {"module Main where\n\nfact :: Integer -> Integer\nfact 0 = 1\nfact n = n * fact (n - 1)\n\nmain = putStrLn (show (fact 5))\n"},
	"json":       {`{"a": 1}`, "[\n  {\"x\": null}\n]", `["a", "b"]`},
	"yaml":       {"name: test\non: push\njobs:\n  build:\n    runs-on: linux\n    steps:\n      - uses: checkout\n"},
	"xml":        {"<?xml version=\"1.0\"?>\n<a/>\n"},
	"latex":      {"\\documentclass{article}\n\\begin{document}\nHello.\n\\end{document}\n"},
	"dockerfile": {"FROM debian:12\nRUN apt-get update\nCOPY . /app\nCMD [\"/app/run\"]\n"},
	"diff":       {"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"},
}

func TestCodeByContent(t *testing.T) {
	d := newDetector(t)
	for want, all := range snippets {
		for i, s := range all {
			for _, path := range []string{"", "notes.txt", "bin/tool"} {
				if got := d.Tag(path, []byte(s)); got != CodePrefix+want {
					t.Errorf("%s %d as %q is called %s", want, i, path, got)
				}
			}
		}
	}
}

func TestByName(t *testing.T) {
	d := newDetector(t)
	english := "We spent the whole summer in a small house near the sea, and nobody wanted to go home."
	for path, want := range map[string]string{
		"main.go": "code:go", "A/B.PY": "code:python", "x.tar.sh": "code:shell", "Makefile": "code:makefile", "d/Dockerfile": "code:dockerfile",
		"go.mod": "code:gomod", "a.h": "code:c", `c:\x\y.rs`: "code:rust", "CMakeLists.txt": "code:cmake",
		"README.md": "en", "LICENSE": "en", "letter.txt": "en", "x.unknown": "en", "": "en", "go": "en", ".go.swp": "en", "x.": "en",
	} {
		if got := d.Tag(path, []byte(english)); got != want {
			t.Errorf("%q is called %s, want %s", path, got, want)
		}
	}
	for _, tt := range []struct{ path, text, want string }{
		{"a.h", "namespace x {\nclass A {\npublic:\n  std::string s;\n};\n}\n", "code:cpp"},
		{"a.h", "#import <Foundation/Foundation.h>\n@interface A : NSObject\n@end\n", "code:objectivec"},
		{"a.m", "x = zeros(3);\nfprintf('%d', x); % print\ndisp(x)\n", "code:matlab"},
		{"a.pl", "my $x = 1;\n", "code:perl"},
		{"README.md", "# Title\n\n" + english + "\n\n```go\nfunc main() {\n\tx := f()\n}\n```\n", "en"},
		{"main.go", "\x00\x01\x02", "und"},
		{"main.go", "", "code:go"},
	} {
		if got := d.Tag(tt.path, []byte(tt.text)); got != tt.want {
			t.Errorf("%q is called %s, want %s", tt.path, got, tt.want)
		}
	}
}

func TestShebang(t *testing.T) {
	for line, want := range map[string]string{
		"#!/bin/bash":                      "shell",
		"#! /usr/bin/env python3.11 -u":    "python",
		"#!/usr/bin/env -S LANG=C node -x": "javascript",
		"#!/usr/local/bin/lua5.4":          "lua",
		"#!/opt/thing":                     "",
		"#!":                               "",
		"#!/usr/bin/env":                   "",
		"# !/bin/sh":                       "",
	} {
		if got := shebang([]byte(line + "\nx\n")); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestProseWithSigns: letters, lists and logs are not code.
func TestProseWithSigns(t *testing.T) {
	d := newDetector(t)
	for _, text := range []string{
		"From: Ann\nTo: Bob\nSubject: lunch\n\nHi Bob, shall we meet at noon (or a bit later)? I would like to try the new place; they say it is good.\nWe could also ask Carol to come along.\nSee you there, I hope.\nAnn\n",
		"- buy milk, bread and butter\n- call the doctor about the results\n- ask whether the train leaves at eight\n- find out who took the ladder\n",
		"He said: \"I will return when I have the money.\" She did not believe him & told everybody so; nothing happened for a while, and then it was spring.",
		strings.Repeat("Let us import the class of things we select from where we are. Return to public life, then end it. ", 3),
	} {
		if got := d.Tag("", []byte(text)); got != "en" {
			t.Errorf("%q is called %s", text, got)
		}
	}
}
