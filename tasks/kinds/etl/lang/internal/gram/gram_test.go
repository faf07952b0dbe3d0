package gram

import (
	"slices"
	"testing"
)

func TestScript(t *testing.T) {
	tables := New()
	for r, want := range map[rune]Script{
		'a': Latin, 'Z': Latin, 'ß': Latin, 'ő': Latin, 'ế': Latin, '×': None, '1': None, ' ': None, -1: None, 0: None,
		'я': Cyrillic, 'Ї': Cyrillic, 'ω': Greek, 'ἀ': Greek, 'ש': Hebrew, 'ع': Arabic, 'پ': Arabic, 'ـ': None, 'ह': Devanagari,
		'।': None, '漢': Han, '𠀀': Han, 'か': Kana, 'カ': Kana, '한': Hangul, 'ก': Thai, '\ufffd': None, '😀': None,
	} {
		if got := tables.Script(r); got != want {
			t.Errorf("%q: %d, want %d", r, got, want)
		}
	}
	for i := range blocks[1:] {
		if blocks[i].hi >= blocks[i+1].lo || blocks[i].lo > blocks[i].hi {
			t.Errorf("blocks %d and %d overlap or are out of order", i, i+1)
		}
	}
}

func TestFeatures(t *testing.T) {
	tables := New()
	count := func(s string) int { return len(tables.Features(nil, []byte(s), Latin)) }
	for s, want := range map[string]int{
		"":             0,
		"   ":          0,
		"ab":           2,         // the word has not ended
		"ab ":          2 + 1 + 1, // its last triple and the word itself
		"ab, cd.":      8,
		"é ":           1 + 1 + 1 + 1, // a letter of its own counts
		"abcdefghijk ": 11 + 1,        // too long to count as a word
		"слово ":       0,
	} {
		if got := count(s); got != want {
			t.Errorf("%q: %d features, want %d", s, got, want)
		}
	}
	same := func(a, b string) bool {
		return slices.Equal(tables.Features(nil, []byte(a+"."), Latin), tables.Features(nil, []byte(b+"."), Latin))
	}
	if !same("Hello  WORLD", "hello, world") || !same("so\u00adft", "soft") || !same("cafe\u0301", "cafe") || same("form", "from") {
		t.Error("case, punctuation and silent marks must not count, letters must")
	}
	for _, f := range tables.Features(nil, []byte("the quick brown fox"), Latin) {
		if f == 0 {
			t.Error("a hash is 0")
		}
	}
}
