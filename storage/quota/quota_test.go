package quota

import (
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	for name, want := range map[string]Kind{
		"blocks/000001.vlog": Blocks, "log/jobs/1.log": Logs, "scratch/runner-1/in/x": Scratch, "code/ab/data": Scratch, "models/a": Models, "settings.json": Other, "": Other,
		"./blocks/x": Blocks, "results": Other, "blocksX/y": Other, "log": Logs,
	} {
		if got := Of(name); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
	}
}

func TestOver(t *testing.T) {
	for _, c := range []struct {
		u    Use
		want bool
	}{{Use{Blocks, 5, 0}, false}, {Use{Blocks, 5, 5}, false}, {Use{Blocks, 6, 5}, true}, {Use{}, false}} {
		if c.u.Over() != c.want {
			t.Errorf("%+v", c.u)
		}
	}
}

func TestDrop(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	items := []Item{{"new", 50, at(9)}, {"old", 10, at(1)}, {"old and large", 30, at(1)}, {"middle", 20, at(5)}, {"odd", -5, at(2)}}
	for _, c := range []struct {
		name string
		most int64
		want []string
	}{
		{"no limit", 0, nil},
		{"fits", 110, nil},
		{"one", 100, []string{"old and large"}},
		{"two", 75, []string{"old and large", "old"}},
		{"passes what frees nothing", 65, []string{"old and large", "old", "odd", "middle"}},
		{"all but the newest", 50, []string{"old and large", "old", "odd", "middle"}},
		{"all", 1, []string{"old and large", "old", "odd", "middle", "new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Drop(items, c.most)
			if len(got) != len(c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i := range got {
				if got[i].Name != c.want[i] {
					t.Errorf("%d: %s, want %s", i, got[i].Name, c.want[i])
				}
			}
		})
	}
	if items[0].Name != "new" {
		t.Error("the caller's list was sorted")
	}
}
