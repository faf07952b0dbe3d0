package simhash

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// tokens is the definition of a token, written plainly.
func tokens(text []byte) (all []string) {
	var token []byte
	flush := func() {
		if len(token) > 0 {
			all = append(all, string(token))
		}
		token = nil
	}
	for _, c := range text {
		switch {
		case c >= 0xe0:
			flush()
			token = append(token, c)
		case c >= 'A' && c <= 'Z':
			token = append(token, c+32)
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80:
			token = append(token, c)
		default:
			flush()
		}
	}
	flush()
	return all
}

// plain is Sum, written plainly.
func plain(text []byte) (sum uint64, shingles int) {
	var hashes []uint64
	for _, t := range tokens(text) {
		hashes = append(hashes, hashSlow([]byte(t)))
	}
	var count [64]int
	n := 64
	for n < 8192 && n < (len(text)+1)/2 {
		n *= 2
	}
	seen := make([]uint64, n)
	for i := 0; i+2 < len(hashes); i++ {
		h := mix(hashes[i]^k2, bits.RotateLeft64(hashes[i+1], 32)^hashes[i+2])
		if seen[h%uint64(n)] == h {
			continue
		}
		seen[h%uint64(n)] = h
		for b := range count {
			count[b] += int(h >> b & 1)
		}
		shingles++
	}
	for b := range count {
		if 2*count[b] > shingles {
			sum |= 1 << b
		}
	}
	return sum, shingles
}

var samples = []string{
	"",
	"one two",
	"one two three",
	"One TWO three",
	"one, two; (three)!",
	"snake_case x9 0x7F",
	"exactly16letters exactly17letters_ ok and_then_some_very_long_identifier_beyond_thirty_two",
	"Grüße aus Köln, schöne Straße",
	"Привет, мир и люди",
	"你好世界,使用Go语言编程",
	"emoji 😀😁 party\r\nwith CRLF\r\n",
	"nul\x00bytes\x00here\x00now",
	"broken \xff\xfe\x80 utf8 \xc3 end \xe4\xbd",
	"[@[`{{`@/:^z{AZ", // neighbours of the classes' bounds
	strings.Repeat("a", 200) + " " + strings.Repeat("b", 64) + " c",
	strings.Repeat("the quick brown fox jumps over the lazy dog ", 100),
}

func TestGolden(t *testing.T) {
	var h Hasher
	var got strings.Builder
	for _, s := range samples {
		sum, n := h.Sum([]byte(s))
		fmt.Fprintf(&got, "%016x %4d %.60q\n", sum, n, s)
		for _, token := range tokens([]byte(s)) {
			if len(s) < 100 {
				fmt.Fprintf(&got, "    %016x %q\n", hashToken([]byte(token+strings.Repeat("\x00", 16)), 0, len(token)), token)
			}
		}
	}
	file := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("fingerprints changed; if that is meant, raise Version and run with -update:\n%s", got.String())
	}
}

func check(t interface{ Fatalf(string, ...any) }, used *Hasher, text []byte) {
	// A hasher that was used before must not remember.
	sum, n := used.Sum(text)
	wantSum, wantN := plain(text)
	if sum != wantSum || n != wantN {
		t.Fatalf("Sum(%.200q) = %016x, %d, want %016x, %d", text, sum, n, wantSum, wantN)
	}
}

func TestAgainstPlain(t *testing.T) {
	var h Hasher
	for _, s := range samples {
		check(t, &h, []byte(s))
	}
	// Every length around the blocks, with a token across each border.
	long := []byte(strings.Repeat("ab, C_d 1é你 ef\xff", 20))
	for n := range len(long) {
		check(t, &h, long[:n])
		check(t, &h, bytes.ReplaceAll(long[:n], []byte(" "), nil))
	}
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]byte("aZ09_ ,\n\x00\x80\xbf\xc3\xdf\xe0\xff@[`{/:"))
		check(t, &h, rapid.SliceOf(letters).Draw(t, "text"))
	})
	rapid.Check(t, func(t *rapid.T) { check(t, &h, rapid.SliceOf(rapid.Byte()).Draw(t, "text")) })
}

func FuzzSum(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var h Hasher
		check(t, &h, text)
		check(t, &h, text)
	})
}

// Many different shingles: counters must not overflow into one another.
func TestManyShingles(t *testing.T) {
	var text bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintln(&text, i)
	}
	var h Hasher
	check(t, &h, text.Bytes())
	if _, n := h.Sum(text.Bytes()); n != 50_000-2 {
		t.Errorf("%d shingles", n)
	}
}

// What repeats counts once, so it cannot drown the rest.
func TestRepeats(t *testing.T) {
	var h Hasher
	once, n := h.Sum([]byte("x x x"))
	often, m := h.Sum(bytes.Repeat([]byte("x "), 1<<20))
	if once != often || n != 1 || m != 1 {
		t.Errorf("%016x of %d and %016x of %d", once, n, often, m)
	}
	zeros := strings.Repeat("0 ", 2000)
	a, _ := h.Sum([]byte(zeros + "the first text is about trees and how they grow in spring"))
	b, _ := h.Sum([]byte(zeros + "another one, of ships that come home late in the year, laden"))
	if d := bits.OnesCount64(a ^ b); d < 15 {
		t.Errorf("only %d bits differ", d)
	}
}

func TestSlots(t *testing.T) {
	for n, want := range map[int]int{0: 64, 128: 64, 129: 128, 2048: 1024, 2049: 2048, 16384: 8192, 1 << 30: 8192} {
		if got := slots(n); got != want {
			t.Errorf("%d bytes: %d slots, want %d", n, got, want)
		}
	}
}

// A few changed words in a text of some hundred leave the fingerprint close; other texts are far.
func TestDistance(t *testing.T) {
	var h Hasher
	words := strings.Fields(strings.Repeat("zero one two three four five six seven eight nine ten ", 50))
	for i := range words {
		words[i] += fmt.Sprint(i % 97)
	}
	text, _ := h.Sum([]byte(strings.Join(words, " ")))
	words[200] = "changed"
	changed, _ := h.Sum([]byte(strings.Join(words, " ")))
	if d := bits.OnesCount64(text ^ changed); d > 3 {
		t.Errorf("one word changed, %d bits differ", d)
	}
	other, _ := h.Sum([]byte(strings.ToUpper(strings.Join(words[100:110], "")) + "quite another text about something else"))
	if d := bits.OnesCount64(text ^ other); d < 15 {
		t.Errorf("another text, but only %d bits differ", d)
	}
}

func BenchmarkSum(b *testing.B) {
	var text []byte
	dir := filepath.Join(kindtest.GoSource(b), "net", "http")
	if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		text = append(text, data...)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{256, 2048, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(text) / size * size))
			b.ReportAllocs()
			var h Hasher
			for b.Loop() {
				for at := 0; at+size <= len(text); at += size {
					h.Sum(text[at : at+size])
				}
			}
		})
	}
}
