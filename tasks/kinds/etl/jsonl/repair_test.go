package jsonl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func newRepairer() *repairer { return &repairer{allowed: AllDefects, duplicates: LastWins} }

// nested returns n opening and n closing brackets.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestRepair(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		defects        string // expected changes, joined with spaces
	}{
		// Valid: unchanged.
		{"null", `null`, `null`, ``},
		{"white space inside and around", " { \"a\" : [ 1 , 2 ] }\t", " { \"a\" : [ 1 , 2 ] }\t", ``},
		{"numbers as they stand", `[0,-0,1.50,1E+9,1e-9,12345678901234567890123]`, `[0,-0,1.50,1E+9,1e-9,12345678901234567890123]`, ``},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800"`, `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800"`, ``},
		{"text of many scripts", `{"ключ":"値 שלום 😀"}`, `{"ключ":"値 שלום 😀"}`, ``},
		{"delete and line separators are text", "\"\x7f\u2028\u00a0\ufeff\"", "\"\x7f\u2028\u00a0\ufeff\"", ``},
		{"apostrophe inside a string", `{"a":"it's"}`, `{"a":"it's"}`, ``},
		{"the deepest nesting", nested(MaxDepth), nested(MaxDepth), ``},
		{"equal names in different objects", `{"a":{"a":1},"b":{"a":2}}`, `{"a":{"a":1},"b":{"a":2}}`, ``},

		{"bom", "\ufeff{}", "{}", `bom`},
		{"two boms", "\ufeff\ufeff[1]", "[1]", `bom bom`},

		{"comma at the end of an object", `{"a":1,}`, `{"a":1}`, `trailing-comma`},
		{"comma at the end of an array", `[1,2 , ]`, `[1,2  ]`, `trailing-comma`},
		{"commas on every level", `{"a":[1,{"b":2,},],}`, `{"a":[1,{"b":2}]}`, `trailing-comma trailing-comma trailing-comma`},
		{"comma after the value", `{"a":1}, `, `{"a":1}`, `trailing-comma`},

		{"single quotes", `{'a':'b'}`, `{"a":"b"}`, `single-quotes single-quotes single-quotes single-quotes`},
		{"double quote in single quotes", `['say "hi"']`, `["say \"hi\""]`, `single-quotes single-quotes single-quotes single-quotes`},
		{"escaped apostrophe in single quotes", `['it\'s']`, `["it's"]`, `single-quotes single-quotes single-quotes`},
		{"escaped apostrophe in double quotes", `["it\'s"]`, `["it's"]`, `single-quotes`},
		{"escaped double quote in single quotes", `['a\"b']`, `["a\"b"]`, `single-quotes single-quotes`},
		{"empty single-quoted string", `['']`, `[""]`, `single-quotes single-quotes`},
		{"python dictionary", `{'ok': True, 'no': False, 'x': None}`, `{"ok": true, "no": false, "x": null}`, strings.Repeat("single-quotes single-quotes python-literal ", 3)},

		{"tab in a string", "[\"a\tb\"]", `["a\tb"]`, `control-character`},
		{"every short escape and a long one", "\"\b\f\r\x00\x1f\"", `"\b\f\r\u0000\u001f"`, strings.Repeat("control-character ", 5)},
		{"control character in a name", "{\"a\x01\":1}", `{"a\u0001":1}`, `control-character`},

		{"latin-1", "[\"caf\xe9\"]", "[\"caf\ufffd\"]", `invalid-utf8`},
		{"encoded surrogate", "[\"\xed\xa0\x80\"]", "[\"\ufffd\ufffd\ufffd\"]", `invalid-utf8 invalid-utf8 invalid-utf8`},
		{"cut character before the quote", "[\"\xe2\x82\"]", "[\"\ufffd\ufffd\"]", `invalid-utf8 invalid-utf8`},
		{"overlong", "\"\xc0\xaf\"", "\"\ufffd\ufffd\"", `invalid-utf8 invalid-utf8`},

		{"doubled name", `{"a":1,"b":2,"a":3}`, `{"b":2,"a":3}`, `duplicate-key`},
		{"tripled name", `{"a":1,"a":2, "a":3}`, `{"a":3}`, `duplicate-key duplicate-key`},
		{"doubled by escape", `{"a":1,"\u0061":2}`, `{"\u0061":2}`, `duplicate-key`},
		{"doubled pair of surrogates", `{"😀":1,"\ud83d\ude00":2}`, `{"\ud83d\ude00":2}`, `duplicate-key`},
		{"lone surrogates are different", `{"\ud800":1,"\ud801":2}`, `{"\ud800":1,"\ud801":2}`, ``},
		{"doubled by the repair of UTF-8", "{\"\xff\":1,\"\xfe\":2}", "{\"\ufffd\":2}", `duplicate-key invalid-utf8`},
		{"doubled by quotes", `{'a':1,"a":2,}`, `{"a":2}`, `duplicate-key trailing-comma`},
		{"removed member takes its repairs along", `{"a":[1,{'b':2,},],"a":3}`, `{"a":3}`, `duplicate-key`},
		{"doubled in a large object", many(30, `"k7":1`), strings.Replace(many(30, `"k7":1`), `"k7":7,`, "", 1), `duplicate-key`},

		{"missing brackets", `{"a":[{"b":"c"`, `{"a":[{"b":"c"}]}`, `truncated`},
		{"missing bracket after a literal", `[true`, `[true]`, `truncated`},
		{"cut literal", `{"a":fal`, `{"a":false}`, `truncated truncated`},
		{"number with a space after it is whole", `[1,2 `, `[1,2 ]`, `truncated`},
		{"doubled name in a truncated object", `{"a":1,"a":"x"`, `{"a":"x"}`, `duplicate-key truncated`},

		{
			"everything at once", "\ufeff{'a': 'x\ty', 'b': None, 'a': '\xff', 'c': [1, 2,]",
			"{\"b\": null, \"a\": \"\ufffd\", \"c\": [1, 2]}", "bom duplicate-key single-quotes single-quotes python-literal single-quotes single-quotes " +
				"single-quotes invalid-utf8 single-quotes single-quotes single-quotes trailing-comma truncated",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, changes, bad := newRepairer().repair([]byte(tt.in), true)
			if bad != nil {
				t.Fatalf("not repaired: %+v", *bad)
			}
			if string(got) != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			var names []string
			for _, c := range changes {
				names = append(names, c.Defect.String())
			}
			if got, want := strings.Join(names, " "), strings.TrimSpace(tt.defects); got != want {
				t.Errorf("changes %q, want %q", got, want)
			}
		})
	}
}

// many returns an object of n members and one more.
func many(n int, more string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	return "{" + b.String() + more + "}"
}

func TestRepairFirstWins(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"a":1,"b":2,"a":3}`, `{"a":1,"b":2}`},
		{`{"a":1 , "a":2 , "a":3 }`, `{"a":1 }`},
		{`{"a":1,"a":2,}`, `{"a":1}`},
		{`{"a":1,"a":tru`, `{"a":1}`},
		{`{"a":1,"b":[{"a":1,"a":[{"x":[tru`, `{"a":1,"b":[{"a":1}]}`},
		{`{"x":{"a":1,'a':[1,],"b":2},"x":0}`, `{"x":{"a":1,"b":2}}`},
	} {
		r := newRepairer()
		r.duplicates = FirstWins
		got, _, bad := r.repair([]byte(tt.in), true)
		if bad != nil || string(got) != tt.want {
			t.Errorf("%s: got %s %v, want %s", tt.in, got, bad, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		code     Code
		col      int
		whole    bool // not the last line
	}{
		{"nothing", ``, Incomplete, 1, false},
		{"a word", `hello`, BadLiteral, 1, false},
		{"NaN", `[NaN]`, BadLiteral, 2, false},
		{"undefined", `{"a":undefined}`, BadLiteral, 6, false},
		{"literal with a tail", `[trueish]`, BadLiteral, 2, false},
		{"cut literal at the top", `tru`, BadLiteral, 1, false},
		{"cut literal of python", `[Tru`, BadLiteral, 2, false},
		{"leading zero", `[01]`, BadNumber, 4, false},
		{"plus", `[+1]`, UnexpectedByte, 2, false},
		{"no digit before the point", `[.5]`, UnexpectedByte, 2, false},
		{"no digit after the point", `[1.]`, BadNumber, 4, false},
		{"empty exponent", `[1e]`, BadNumber, 4, false},
		{"two points", `[1.2.3]`, BadNumber, 5, false},
		{"hexadecimal", `0x10`, BadNumber, 2, false},
		{"minus alone", `[-]`, BadNumber, 3, false},
		{"unknown escape", `["\x41"]`, BadEscape, 3, false},
		{"short unicode escape", `["\u12g4"]`, BadEscape, 3, false},
		{"two values", `{"a":1}{"b":2}`, ExtraData, 8, false},
		{"two values with a comma", `{"a":1},{"b":2}`, ExtraData, 8, false},
		{"apostrophe in single quotes", `['it's']`, UnexpectedByte, 6, false},
		{"double comma", `[1,,2]`, UnexpectedByte, 4, false},
		{"double trailing comma", `[1,,]`, UnexpectedByte, 4, false},
		{"comma alone in an array", `[,]`, UnexpectedByte, 2, false},
		{"comma alone in an object", `{,}`, UnexpectedByte, 2, false},
		{"missing comma", `["a" "b"]`, UnexpectedByte, 6, false},
		{"missing colon", `{"a" 1}`, UnexpectedByte, 6, false},
		{"name without quotes", `{a:1}`, UnexpectedByte, 2, false},
		{"wrong bracket", `[1}`, BadNumber, 3, false},
		{"wrong bracket after a string", `["1"}`, UnexpectedByte, 5, false},
		{"closing bracket alone", `]`, UnexpectedByte, 1, false},
		{"comment", `{"a":1} // one`, ExtraData, 9, false},
		{"zeros", "\x00\x00", UnexpectedByte, 1, false},
		{"not UTF-8 outside a string", "[\xff]", UnexpectedByte, 2, false},
		{"no-break space outside a string", "[\u00a0]", UnexpectedByte, 2, false},
		{"bom later", "[1,\ufeff2]", UnexpectedByte, 4, false},
		{"too deep", nested(MaxDepth + 1), TooDeep, MaxDepth + 1, false},
		{"too many changes", "[" + strings.Repeat("'',", MaxChanges) + "1]", TooManyChanges, 1 + 3*(MaxChanges/2) + 1, false},
		{"too many members", "{" + strings.Repeat(`"":0,`, MaxMembers) + `"":0}`, TooManyMembers, 1 + 5*MaxMembers + 1, false},
		{"truncated, but not the last line", `{"a":"b"`, Incomplete, 9, true},
		{"cut string", `{"a":"b`, Incomplete, 8, false},
		{"cut escape", `{"a":"b\`, Incomplete, 9, false},
		{"cut unicode escape", `{"a":"\u00`, Incomplete, 11, false},
		{"cut number", `[1,23`, Incomplete, 6, false},
		{"cut after the point", `[1.`, Incomplete, 4, false},
		{"cut after minus", `[-`, Incomplete, 3, false},
		{"name without value", `{"a"`, Incomplete, 5, false},
		{"name and colon", `{"a":`, Incomplete, 6, false},
		{"comma promises more", `{"a":1,`, Incomplete, 8, false},
		{"comma promises more in an array", `["a",`, Incomplete, 6, false},
		{"open object", `{`, Incomplete, 2, false},
		{"open array", `[[`, Incomplete, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, bad := newRepairer().repair([]byte(tt.in), !tt.whole)
			if bad == nil {
				t.Fatalf("repaired to %q, want %s", got, tt.code)
			}
			if bad.Code != tt.code || bad.Col != tt.col {
				t.Errorf("got %s at %d, want %s at %d", bad.Code, bad.Col, tt.code, tt.col)
			}
		})
	}
}

func TestNotAllowed(t *testing.T) {
	for in, want := range map[string]Defect{
		"\ufeff{}":      BOM,
		`[1,]`:          TrailingComma,
		`['']`:          SingleQuotes,
		`[None]`:        PythonLiteral,
		"\"\t\"":        ControlCharacter,
		"\"\xff\"":      InvalidUTF8,
		`{"a":1,"a":2}`: DuplicateKey,
		`{"a":"b"`:      Truncated,
	} {
		r := newRepairer()
		r.allowed &^= 1 << want
		_, _, bad := r.repair([]byte(in), true)
		if bad == nil || bad.Code != Code(want.String()) {
			t.Errorf("%q: got %+v, want %s", in, bad, want)
		}
	}
	r := newRepairer()
	r.duplicates = Refuse
	if _, _, bad := r.repair([]byte(`{"a":1,"a":2}`), true); bad == nil || bad.Code != "duplicate-key" || bad.Col != 8 {
		t.Errorf("duplicates refused: got %+v", bad)
	}
}

// checkRepair holds for any input: what comes out is JSON, repairing it again changes nothing, the changes turn the one
// into the other, and strict JSON stays as it is.
func checkRepair(t interface{ Fatalf(string, ...any) }, in []byte, last bool, duplicates Duplicates) {
	original := bytes.Clone(in)
	r := newRepairer()
	r.duplicates = duplicates
	got, changes, bad := r.repair(in, last)
	if !bytes.Equal(in, original) {
		t.Fatalf("the input was changed")
	}
	if bad != nil {
		if bad.Col < 1 || bad.Col > len(in)+1 {
			t.Fatalf("column %d of %d bytes", bad.Col, len(in))
		}
		strict := !bytes.HasPrefix(in, bom) && json.Valid(in) && utf8.Valid(in)
		if strict && bad.Code != TooDeep && bad.Code != TooManyChanges && bad.Code != TooManyMembers {
			t.Fatalf("%q is valid but was refused: %+v", in, *bad)
		}
		return
	}
	if !json.Valid(got) || !utf8.Valid(got) {
		t.Fatalf("%q became %q, which is not JSON", in, got)
	}
	at := 0
	var again []byte
	for _, c := range changes {
		again = append(append(again, in[at:c.Off]...), c.With...)
		at = c.End
	}
	if again = append(again, in[at:]...); !bytes.Equal(again, got) {
		t.Fatalf("%q: the changes make %q, the repair made %q", in, again, got)
	}
	if len(changes) == 0 && !bytes.Equal(got, in) {
		t.Fatalf("%q became %q without a change", in, got)
	}
	got = bytes.Clone(got)
	if len(changes) > 0 && bytes.HasSuffix(got, []byte("\r")) && !bytes.HasSuffix(in, []byte("\r")) {
		t.Fatalf("%q: a line end came to light: %q", in, got)
	}
	twice, changes, bad := r.repair(got, last)
	if bad != nil || len(changes) > 0 || !bytes.Equal(twice, got) {
		t.Fatalf("%q became %q, and then %q (%+v)", in, got, twice, bad)
	}
}

var seeds = []string{
	``, `{}`, `[1,]`, "\ufeff{'a':None}", `{"a":1,"a":2,"b":[{"a":1,"\u0061":2}]}`, "{\"a\":\"\xff\t\"", `[1,2`, `[tru`, `{"a":"b"},`,
	`{"a":1,"a":[{"x":[tru`, `['it\'s "x"',]`, "[\"\xed\xa0\x80\"]", `{"\ud83d\ude00":1,"😀":2,}`, "1\r,", "\"\x00\"", many(14, `'k3':tru`), nested(20),
}

func FuzzRepair(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), true, false)
		f.Add([]byte(s), false, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, last, first bool) {
		duplicates := LastWins
		if first {
			duplicates = FirstWins
		}
		checkRepair(t, in, last, duplicates)
	})
}

// TestRepairProperty builds JSON of random shape with random defects, which must all be repaired to the value without
// them.
func TestRepairProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{t: t}
		g.value(0)
		if rapid.Bool().Draw(t, "bom") {
			g.broken = "\ufeff" + g.broken
		}
		if rapid.Bool().Draw(t, "comma") {
			g.broken += ","
		}
		got, changes, bad := newRepairer().repair([]byte(g.broken), false)
		if bad != nil {
			t.Fatalf("%q: %+v", g.broken, *bad)
		}
		if string(got) != g.sound {
			t.Fatalf("%q\ngot  %q\nwant %q", g.broken, got, g.sound)
		}
		if (len(changes) == 0) != (g.broken == g.sound) {
			t.Fatalf("%q: %d changes", g.broken, len(changes))
		}
		checkRepair(t, []byte(g.broken), true, LastWins)
		cut := rapid.IntRange(0, len(g.broken)).Draw(t, "cut")
		checkRepair(t, []byte(g.broken[:cut]), true, FirstWins)
	})
}

// generator writes one JSON text twice: sound, and with defects.
type generator struct {
	t             *rapid.T
	sound, broken string
}

func (g *generator) both(s string) { g.sound, g.broken = g.sound+s, g.broken+s }

func (g *generator) one(sound, broken string) {
	g.sound, g.broken = g.sound+sound, g.broken+broken
}

func (g *generator) value(depth int) {
	n := 7
	if depth > 2 {
		n = 5
	}
	switch rapid.IntRange(0, n).Draw(g.t, "shape") {
	case 0:
		g.both(rapid.SampledFrom([]string{"0", "-1.5e+3", "12345678901234567890"}).Draw(g.t, "number"))
	case 1:
		g.both(rapid.SampledFrom([]string{"true", "false", "null"}).Draw(g.t, "literal"))
	case 2:
		pair := rapid.SampledFrom([][2]string{{"true", "True"}, {"false", "False"}, {"null", "None"}}).Draw(g.t, "python")
		g.one(pair[0], pair[1])
	case 3, 4, 5:
		g.text("")
	case 6:
		g.both("[")
		count := rapid.IntRange(0, 4).Draw(g.t, "elements")
		for i := range count {
			if i > 0 {
				g.both(" ,")
			}
			g.value(depth + 1)
		}
		g.end(count, "]")
	default:
		g.both("{")
		count := rapid.SampledFrom([]int{0, 1, 2, 3, 20}).Draw(g.t, "members")
		for i := range count {
			if i > 0 {
				g.both(", ")
			}
			if rapid.IntRange(0, 9).Draw(g.t, "double") == 0 {
				g.one("", fmt.Sprintf(`"k%d":'dropped', `, i))
			}
			g.text(fmt.Sprintf("k%d", i))
			g.both(":")
			g.value(depth + 1)
		}
		g.end(count, "}")
	}
}

func (g *generator) end(count int, bracket string) {
	if count > 0 && rapid.Bool().Draw(g.t, "trailing") {
		g.one("", ",")
	}
	g.both(bracket)
}

// text writes a string that begins with prefix; with a prefix it is a name, and only the quotes vary.
func (g *generator) text(prefix string) {
	quote := rapid.SampledFrom([]string{`"`, `'`}).Draw(g.t, "quote")
	g.one(`"`+prefix, quote+prefix)
	if prefix == "" {
		for range rapid.IntRange(0, 6).Draw(g.t, "pieces") {
			pair := rapid.SampledFrom([][2]string{
				{"plain text ", "plain text "},
				{"é😀", "é😀"},
				{`\n`, "\n"},
				{`\u0000`, "\x00"},
				{"\ufffd", "\xff"},
				{`\u00e9\\`, `\u00e9\\`},
				{`'`, `\'`},
				{`\"`, `\"`},
			}).Draw(g.t, "piece")
			g.one(pair[0], pair[1])
		}
	}
	g.one(`"`, quote)
}

func TestClean(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := bytes.Repeat([]byte("a "), 12)
			b[at] = byte(c)
			want := len(b)
			if c < 0x20 || c >= 0x80 || c == '"' || c == '\'' || c == '\\' {
				want = at
			}
			if got := clean(b); got != want {
				t.Fatalf("byte 0x%02x at %d: %d, want %d", c, at, got, want)
			}
		}
	}
}

func TestExcerpt(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"a€b", 2, "a…"},
		{"a€b", 4, "a€…"},
		{"\xffa", 5, `\xffa`},
		{"\x80\x80\x80\x80\x80", 4, `\x80\x80\x80\x80…`},
	} {
		if got := excerpt([]byte(tt.in), tt.n); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestHostile runs inputs that would be slow if any step were quadratic; the test's own time limit is the check.
func TestHostile(t *testing.T) {
	const n = 1 << 20
	var names strings.Builder
	for i := range n / 8 {
		fmt.Fprintf(&names, `"%07d":0,`, (i*7919)%(n/8))
	}
	for _, in := range []string{
		strings.Repeat("[", n),
		strings.Repeat(`{"a":`, n),
		strings.Repeat("'", n),
		`"` + strings.Repeat(`\`, n),
		strings.Repeat("\ufeff", n/4),
		"[" + strings.Repeat("1,", n) + "]",
		`{` + names.String() + `"x":0}`,
		`{` + strings.Repeat(`"a":0,`, n/8) + `"x":0}`,
		strings.Repeat(" ", n) + ",",
		"1" + strings.Repeat(" ", n) + ",",
		strings.Repeat("9", n),
	} {
		checkRepair(t, []byte(in), true, LastWins)
	}
}

func TestDefectNames(t *testing.T) {
	if names := AllDefects.Names(); len(names) != int(defectCount) || slices.Contains(names, "") {
		t.Errorf("names: %q", names)
	}
	set, err := parseDefects([]string{"crlf", "bom"})
	if err != nil || set != 1<<BOM|1<<CRLF {
		t.Errorf("set %b, %v", set, err)
	}
	if _, err := parseDefects([]string{"rust"}); err == nil {
		t.Error("an unknown defect was accepted")
	}
}
