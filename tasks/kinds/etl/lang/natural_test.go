package lang

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	size    = flag.Int("size", 200, "bytes of a sample in TestAccuracy")
	verbose = flag.Bool("wrong", false, "TestAccuracy prints the samples it gets wrong")
)

func newDetector(t testing.TB) *Detector {
	d, err := NewDetector()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// windows cuts a text into samples of at most size bytes, at spaces where there are any.
func windows(text string, size int) (out []string) {
	text = strings.ReplaceAll(text, "\n", " ")
	for len(text) > size*2/3 {
		n := min(size, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		if i := strings.LastIndexByte(text[:n], ' '); n < len(text) && i > n*2/3 {
			n = i
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

// TestAccuracy measures the share of samples of 200 bytes that get their language. The samples were written for this
// test and share no text with what the table was trained on.
func TestAccuracy(t *testing.T) {
	d := newDetector(t)
	files, err := filepath.Glob("testdata/samples/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d languages, %v", len(files), err)
	}
	total, right := 0, 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(filepath.Base(f), ".txt")
		all := windows(string(text), *size)
		if *size == 200 && len(all) < 15 {
			t.Errorf("%s: only %d samples", want, len(all))
		}
		wrong := map[string]int{}
		for _, s := range all {
			got := d.Natural([]byte(s))
			if tag := d.Tag("", []byte(s)); tag != got {
				t.Errorf("prose is called %s: %q", tag, s)
			}
			if got != want {
				wrong[got]++
				if *verbose {
					t.Logf("%s is called %s: %q", want, got, s)
				}
			}
		}
		bad := 0
		for _, n := range wrong {
			bad += n
		}
		total += len(all)
		right += len(all) - bad
		t.Logf("%s: %d of %d %v", want, len(all)-bad, len(all), wrong)
		if *size == 200 && bad*10 > len(all) {
			t.Errorf("%s: %d of %d samples are wrong: %v", want, bad, len(all), wrong)
		}
	}
	t.Logf("%d languages, %d of %d samples right: %.2f %%", len(files), right, total, 100*float64(right)/float64(total))
	if *size == 200 && right*100 < total*98 {
		t.Errorf("%d of %d samples are right, want 98 %%", right, total)
	}
}

func TestUndetermined(t *testing.T) {
	d := newDetector(t)
	random := rand.New(rand.NewPCG(1, 2))
	letters := func(n int, alphabet string) string {
		var b strings.Builder
		for range n {
			b.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"nothing":         "",
		"white space":     " \n\t ",
		"one word":        "hello",
		"numbers":         "12 345 678 90 12 345 678 90 3.14159 2.71828 1 2 3 4 5 6 7 8 9",
		"a table":         "1.5\t2.5\t3.5\n4.5\t5.5\t6.5\n7.5\t8.5\t9.5\n",
		"punctuation":     "... --- !!! ??? ,,, ... --- !!! ???",
		"emoji":           "😀😃😄😁😆😅😂🤣😊😇🙂🙃😉😌",
		"zero bytes":      "The quick brown fox\x00\x00\x00 jumps over the lazy dog",
		"base64":          letters(300, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
		"hexadecimal":     letters(300, "0123456789abcdef"),
		"random letters":  letters(300, "abcdefghijklmnopqrstuvwxyz    "),
		"two scripts":     "The weather is fine today. Сегодня погода хорошая.",
		"half Greek":      "καλημέρα σας κύριε good morning my dear sir",
		"one letter":      strings.Repeat("a", 300),
		"control garbage": letters(300, "\x01\x02\x03\x04abc"),
	} {
		if got := d.Tag("", []byte(text)); got != Undetermined {
			t.Errorf("%s: %s", name, got)
		}
	}
	for i := range 100 {
		b := make([]byte, 400)
		for k := range b {
			b[k] = byte(random.Uint32())
		}
		if got := d.Tag("", b); got != Undetermined {
			t.Errorf("random bytes %d: %s", i, got)
		}
	}
}

func TestScripts(t *testing.T) {
	d := newDetector(t)
	for want, text := range map[string]string{
		"hy":  "Բոլոր մարդիկ ծնվում են ազատ",
		"ka":  "ყველა ადამიანი იბადება თავისუფალი",
		"bn":  "সমস্ত মানুষ স্বাধীনভাবে জন্মগ্রহণ করে",
		"pa":  "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ",
		"gu":  "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ",
		"ta":  "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே",
		"te":  "ప్రతిపత్తిస్వత్వముల విషయమున",
		"kn":  "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ",
		"ml":  "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും",
		"si":  "සියලු මනුෂ්\u200dයයෝ නිදහස්ව උපත ලබා ඇත",
		"lo":  "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ",
		"km":  "មនុស្សទាំងអស់កើតមកមានសេរីភាព",
		"my":  "လူတိုင်းသည် တူညီလွတ်လပ်သော",
		"am":  "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና",
		"zh":  "人人生而自由，在尊严和权利上一律平等。",
		"ja":  "すべての人間は、生まれながらにして自由であり",
		"ko":  "모든 인간은 태어날 때부터 자유로우며",
		"und": "𐎠𐎭𐎶𐏐𐎭𐎠𐎼𐎹𐎺𐎢𐏁𐏐𐎧𐏁𐎠𐎹𐎰𐎡𐎹",
	} {
		if got := d.Tag("", []byte(text)); got != want {
			t.Errorf("%s is called %s", want, got)
		}
	}
}

// TestMixed: the larger part decides, if it is large enough.
func TestMixed(t *testing.T) {
	d := newDetector(t)
	english := "We spent the whole summer in a small house near the sea, and nobody wanted to go home. "
	for text, want := range map[string]string{
		english + english + english + "Спасибо большое.":       "en",
		"これは日本語の文章ですが、いくつかの English words も混ざっています。それでも日本語です。": "ja",
		strings.ToUpper(english):                   "en",
		strings.ReplaceAll(english, " ", "\u00a0"): "en",
		"1. " + english + "2. " + english:          "en",
		"# Notes\n\n* [link](https://x.org/a_b)\n\n" + english + english + "\n\n```\nx := 1\n```\n": "en",
	} {
		if got := d.Tag("notes.txt", []byte(text)); got != want {
			t.Errorf("%q is called %s, want %s", text, got, want)
		}
	}
}

func TestTableErrors(t *testing.T) {
	for n := range table[:200] {
		if _, err := parseTable(table[:n]); err == nil && n > 0 {
			t.Errorf("a table cut at %d was accepted", n)
		}
	}
	if _, err := parseTable([]byte{255, 0, 0, 0, 0, 0}); err == nil {
		t.Error("an unknown script was accepted")
	}
}

func FuzzTag(f *testing.F) {
	f.Add("", []byte("The quick brown fox jumps over the lazy dog"))
	f.Add("a.h", []byte("#!/usr/bin/env -S python3 x\n{\"a\": [1"))
	f.Add("x.", []byte("\xff\xfe[\""))
	f.Add("/", []byte("#!"))
	d := newDetector(f)
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		tag := d.Tag(path, data)
		if tag == "" || tag == CodePrefix || !utf8.ValidString(tag) || len(tag) > 32 {
			t.Fatalf("tag %q", tag)
		}
		if again := d.Tag(path, data); again != tag {
			t.Fatalf("%q, then %q", tag, again)
		}
	})
}

func BenchmarkNatural(b *testing.B) {
	for _, lang := range []string{"en", "de", "vi", "ru", "ar", "zh"} {
		text, err := os.ReadFile(filepath.Join("testdata", "samples", lang+".txt"))
		if err != nil {
			b.Fatal(err)
		}
		for _, size := range []int{200, len(text)} {
			b.Run(fmt.Sprintf("%s/%d", lang, size), func(b *testing.B) {
				d := newDetector(b)
				b.SetBytes(int64(size))
				for b.Loop() {
					d.Tag("", text[:size])
				}
			})
		}
	}
}

func BenchmarkNewDetector(b *testing.B) {
	for b.Loop() {
		newDetector(b)
	}
}
