package trust

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"kith/tasks"
	"pgregory.net/rapid"
)

const now = int64(20_000) * dayMillis

var outcomes = []tasks.Outcome{tasks.Accepted, tasks.Outvoted, tasks.Forged, tasks.Withheld, tasks.Lapsed, tasks.Returned, tasks.Cancelled}

func note(r Record, o tasks.Outcome, times int) Record {
	for range times {
		r = r.Note(o, now)
	}
	return r
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		name         string
		r            Record
		score, quota int
		banned       bool
	}{
		{"never seen", Record{}, 500, 4, false},
		{"one good", note(Record{}, tasks.Accepted, 1), 666, 8, false},
		{"many good", note(Record{}, tasks.Accepted, 98), 990, 256, false},
		{"one outvoted", note(Record{}, tasks.Outvoted, 1), 166, 3, false},
		{"cancelled", note(Record{}, tasks.Cancelled, 9), 500, 4, false},
		{"returned", note(Record{}, tasks.Returned, 4), 333, 4, false},
		{"lapsed for ever", note(Record{}, tasks.Lapsed, 98), 10, 1, false},
		{"forged twice", note(Record{}, tasks.Forged, 2), 29, 2, false},
		{"forged thrice", note(Record{}, tasks.Forged, 3), 20, 1, true},
		{"proof", note(Record{}, tasks.Accepted, 98).Ban([32]byte{1}), 990, 256, true},
	} {
		if c.r.Score() != c.score || c.r.Quota() != c.quota || c.r.Banned() != c.banned {
			t.Errorf("%s: score %d quota %d banned %v, want %d %d %v", c.name, c.r.Score(), c.r.Quota(), c.r.Banned(), c.score, c.quota, c.banned)
		}
	}
}

func TestReliability(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Record
		want int
	}{
		{"never seen", Record{}, 1000},
		{"good", note(Record{}, tasks.Accepted, 5), 1000},
		{"one outvoted", note(Record{}, tasks.Outvoted, 1), 333},
		{"one outvoted in a hundred", note(note(Record{}, tasks.Accepted, 99), tasks.Outvoted, 1), 961},
	} {
		if got := c.r.Reliability(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestFading(t *testing.T) {
	r := note(Record{}, tasks.Forged, 3)
	if half := r.At(now + HalfLifeDays*dayMillis); half.Forged < 1_499_900 || half.Forged > 1_500_000 || half.Banned() {
		t.Errorf("after a half-life: %+v", half)
	}
	if gone := note(r, tasks.Accepted, 1000).At(now + 46*HalfLifeDays*dayMillis); gone.Score() != 500 {
		t.Errorf("after years: %+v", gone)
	}
	if r.At(now-dayMillis) != r {
		t.Error("a clock that went backwards changed something")
	}
	proven := r.Ban([32]byte{7})
	if later := proven.At(now + 100*HalfLifeDays*dayMillis); !later.Banned() || later.Ban([32]byte{8}).Proof != [32]byte{7} {
		t.Error("proof faded")
	}
	if note(Record{}, tasks.Accepted, 7).Proven() || !note(Record{}, tasks.Accepted, 8).Proven() {
		t.Error("proven")
	}
}

// TestRules draws histories and checks what must always hold.
func TestRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Record
		at := now
		for range rapid.IntRange(0, 200).Draw(t, "length") {
			at += int64(rapid.IntRange(-1, 3).Draw(t, "days")) * dayMillis / 2
			o := rapid.SampledFrom(outcomes).Draw(t, "outcome")
			before := r.At(at)
			r = r.Note(o, at)
			if s := r.Score(); s < 0 || s > 1000 {
				t.Fatalf("score %d", s)
			}
			if rel := r.Reliability(); rel < r.Score() || rel > 1000 || rel > before.Reliability() && o != tasks.Accepted {
				t.Fatalf("reliability %d, before %d %s", rel, before.Reliability(), o)
			}
			if q := r.Quota(); q < 1 || q > MostQuota {
				t.Fatalf("quota %d", q)
			}
			if d := r.Score() - before.Score(); o == tasks.Accepted && d < 0 || o != tasks.Accepted && d > 0 {
				t.Fatalf("%s changed the score by %d", o, d)
			}
			// Looking at it in between changes nothing.
			end := at + 40*dayMillis
			if r.At(end) != r.At(at+13*dayMillis).At(at+27*dayMillis).At(end) {
				t.Fatal("fading depends on how often one looks")
			}
		}
	})
}

func TestBook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBook()
		b.most = 24
		for i := range rapid.IntRange(0, 200).Draw(t, "length") {
			node := tasks.NodeID{byte(rapid.IntRange(0, 60).Draw(t, "node"))}
			at := now + int64(i)*dayMillis
			if rapid.IntRange(0, 9).Draw(t, "ban") == 0 {
				b.Ban(node, [32]byte{1}, at)
			} else {
				b.Note(node, rapid.SampledFrom(outcomes).Draw(t, "outcome"), at)
			}
			if b.Len() > b.most {
				t.Fatalf("%d nodes", b.Len())
			}
		}
		s := b.Snapshot()
		again, err := Restore(s)
		if err != nil || !reflect.DeepEqual(again.Snapshot(), s) {
			t.Fatalf("restored differently: %v", err)
		}
		if !slices.IsSortedFunc(s, func(x, y Entry) int { return int(x.Node[0]) - int(y.Node[0]) }) {
			t.Fatal("not in order")
		}
	})
}

func TestBookForgets(t *testing.T) {
	b := NewBook()
	b.most = 32
	name := func(i int) (n tasks.NodeID) { binary.BigEndian.PutUint32(n[:], uint32(i)); return n }
	b.Ban(name(0), [32]byte{1}, now)
	for i := 1; i < 1000; i++ {
		b.Note(name(i), tasks.Accepted, now+int64(i)*dayMillis)
	}
	if b.Len() > 32 || !b.Get(name(0), now).Banned() || b.Get(name(999), now).Accepted == 0 {
		t.Errorf("forgot the wrong ones: %d left", b.Len())
	}
}

func TestRestoreRefuses(t *testing.T) {
	for name, list := range map[string][]Entry{
		"negative": {{Record: Record{Lapsed: -1}}},
		"huge":     {{Record: Record{Forged: mostCount + 1}}},
		"quota":    {{Record: Record{Spent: FirstQuota}}},
		"twice":    {{}, {}},
		"too many": make([]Entry, MaxNodes+1),
	} {
		if _, err := Restore(list); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Bad luck costs work, not trust; a wrong or withheld result costs both.
func TestHonesty(t *testing.T) {
	unlucky := note(note(Record{}, tasks.Lapsed, 20), tasks.Returned, 20)
	if unlucky.Honesty() != 1000 || unlucky.Reliability() > 500 {
		t.Errorf("bad luck: honesty %d, reliability %d", unlucky.Honesty(), unlucky.Reliability())
	}
	for _, o := range []tasks.Outcome{tasks.Outvoted, tasks.Forged, tasks.Withheld} {
		if r := note(Record{}, o, 1); r.Honesty() >= 800 {
			t.Errorf("%s: honesty %d", o, r.Honesty())
		}
	}
}
