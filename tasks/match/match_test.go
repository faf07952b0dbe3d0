package match

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kith/tasks"
)

func node(n byte) Node {
	return Node{
		ID: tasks.NodeID{n}, Group: fmt.Sprint("g", n), Account: fmt.Sprint("a", n), Region: "DE", Class: tasks.CPU, Sandbox: tasks.GradeB,
		Memory: 4 << 30, Free: 2, RTT: 10, Reliable: 500, Honest: 1000,
	}
}

func need() *Need {
	return &Need{Policy: &tasks.Policy{K: 2, N: 3}, Class: tasks.CPU, Sandbox: tasks.GradeProcess, Memory: 1 << 30, Kinds: []string{"etl.chunk", "etl.dedup"}}
}

// TestFilters lets one node fall at each filter in turn, and names the reason.
func TestFilters(t *testing.T) {
	var fell [Filters]bool
	for _, c := range []struct {
		name   string
		change func(need *Need, n *Node)
		want   tasks.Code
	}{
		{"fits", func(*Need, *Node) {}, ""},
		{"banned", func(_ *Need, n *Node) { n.Banned = true }, tasks.Banned},
		{"one kind off", func(_ *Need, n *Node) { n.Kinds = []string{"etl.chunk"} }, tasks.KindOff},
		{"all kinds on", func(_ *Need, n *Node) { n.Kinds = []string{"etl.dedup", "etl.chunk", "x"} }, ""},
		{"no GPU", func(need *Need, _ *Node) { need.Class = tasks.WeakGPU }, tasks.WeakDevice},
		{"weak GPU", func(need *Need, n *Node) { need.Class, n.Class = tasks.HighGPU, tasks.WeakGPU }, tasks.WeakDevice},
		{"better than needed", func(_ *Need, n *Node) { n.Class = tasks.HighGPU }, ""},
		{"sandbox", func(need *Need, _ *Node) { need.Sandbox = tasks.GradeA }, tasks.WeakSandbox},
		{"region not listed", func(need *Need, _ *Node) { need.Policy.Regions = []string{"FR", "NL"} }, tasks.WrongRegion},
		{"region listed", func(need *Need, _ *Node) { need.Policy.Regions = []string{"FR", "DE"} }, ""},
		{"region excluded", func(need *Need, _ *Node) { need.Policy.Excluded = []string{"DE"} }, tasks.WrongRegion},
		{"region unknown", func(need *Need, n *Node) { need.Policy.Regions, n.Region = []string{"DE"}, "" }, tasks.WrongRegion},
		{"ungraded", func(need *Need, _ *Node) { need.Policy.MinGrade = 1 }, tasks.WeakGrade},
		{"grade", func(need *Need, n *Node) { need.Policy.MinGrade, n.Band = 6, 5 }, tasks.WeakGrade},
		{"grade reached", func(need *Need, n *Node) { need.Policy.MinGrade, n.Band = 5, 5 }, ""},
		{"bad record, public input", func(_ *Need, n *Node) { n.Honest = 100 }, ""},
		{"bad record, sealed input", func(need *Need, n *Node) { need.Sealed, n.Honest = true, 700 }, tasks.NotTrusted},
		{"good record, sealed input", func(need *Need, n *Node) { need.Sealed, n.Honest = true, 900 }, ""},
		{"bad luck, sealed input", func(need *Need, n *Node) { need.Sealed, n.Reliable = true, 100 }, ""},
		{"memory", func(need *Need, _ *Node) { need.Memory = 5 << 30 }, tasks.OverLimits},
		{"node limit", func(need *Need, _ *Node) { need.Full = true }, tasks.NodeLimitReached},
		{"node limit, known", func(need *Need, n *Node) { need.Full, need.Known = true, []tasks.NodeID{{0}, n.ID, {200}} }, ""},
		{"had its try", func(need *Need, n *Node) { need.Tried = []Place{{Node: n.ID}} }, tasks.TooFewNodes},
		{"group in use", func(need *Need, n *Node) { need.Tried = []Place{{Group: n.Group, Vote: true}} }, tasks.NoDiverseNode},
		{"account in use", func(need *Need, n *Node) { need.Tried = []Place{{Account: n.Account, Vote: true}} }, tasks.NoDiverseNode},
		{"group lapsed", func(need *Need, n *Node) { need.Tried = []Place{{Group: n.Group}} }, ""},
		{"no groups on a LAN", func(need *Need, n *Node) { n.Group, need.Tried = "", []Place{{Vote: true}} }, ""},
		{"quota", func(_ *Need, n *Node) { n.Quota, n.Running = 4, 4 }, tasks.Filled},
		{"quota left", func(_ *Need, n *Node) { n.Quota, n.Running = 4, 3 }, ""},
		{"busy", func(_ *Need, n *Node) { n.Free = 0 }, tasks.Busy},
	} {
		need, n := need(), node(7)
		c.change(need, &n)
		got, s := Choose(need, []Node{n})
		code, refused := Refuse(need, &n)
		if (got == 0) != (c.want == "") || code != c.want || refused != (c.want != "") {
			t.Errorf("%s: chose %d, refused with %q, want %q", c.name, got, code, c.want)
		}
		if c.want != "" && s.Why().Code != c.want {
			t.Errorf("%s: why %+v", c.name, s.Why())
		}
		if c.want != "" && s.Why().Remedy() == "" {
			t.Errorf("%s: nobody is told what to do", c.name)
		}
		for i, f := range s.Fell {
			fell[i] = fell[i] || f.Count > 0
		}
	}
	for i := range fell {
		if !fell[i] {
			t.Errorf("nothing here falls at filter %d", i)
		}
	}
	need := need()
	need.Policy = nil
	if got, _ := Choose(need, []Node{node(1)}); got != 0 {
		t.Error("no policy, no demands")
	}
}

func TestWhy(t *testing.T) {
	if _, s := Choose(need(), nil); s.Why().Code != tasks.NoPeers {
		t.Errorf("nobody there: %+v", s.Why())
	}
	banned, busy := node(1), node(2)
	banned.Banned, busy.Free = true, 0
	_, s := Choose(need(), []Node{banned, busy, banned})
	if w := s.Why(); w.Code != tasks.Busy || w.Detail != "of 3 nodes: 2 banned, 1 busy" {
		t.Errorf("%+v", w)
	}
}

func TestCosts(t *testing.T) {
	for name, worse := range map[string]func(*Node){
		"far":        func(n *Node) { n.RTT = 100 },
		"relayed":    func(n *Node) { n.Relayed = true },
		"working":    func(n *Node) { n.Running = 3 },
		"loaded":     func(n *Node) { n.Load = 900 },
		"unreliable": func(n *Node) { n.Reliable = 100 },
		"slow":       func(n *Node) { n.Band = 2 },
		"later id":   func(n *Node) { n.ID[0] = 9 },
	} {
		a, b := node(5), node(5)
		b.ID[1] = 1
		worse(&a)
		if got, _ := Choose(need(), []Node{a, b}); got != 1 {
			t.Errorf("%s: chosen before a better one", name)
		}
	}
	sealed := need()
	sealed.Sealed = true
	proven := node(8)
	proven.Proven, proven.Reliable = true, 1000
	stranger := node(5)
	stranger.Reliable = 1000
	if got, _ := Choose(sealed, []Node{stranger, proven}); got != 1 {
		t.Error("sealed input rather to a proven node")
	}
	need := need()
	need.Holders = []tasks.NodeID{{8}}
	if got, _ := Choose(need, []Node{node(5), node(8)}); got != 1 {
		t.Error("who has the inputs comes first")
	}
}

// TestChoose checks against the slow way, in any order.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var nodes []Node
		for i := range rapid.IntRange(0, 12).Draw(t, "nodes") {
			n := node(byte(i))
			n.Free = rapid.IntRange(0, 2).Draw(t, "free")
			n.RTT = int64(rapid.IntRange(0, 3).Draw(t, "rtt"))
			n.Banned = rapid.IntRange(0, 4).Draw(t, "banned") == 0
			nodes = append(nodes, n)
		}
		need := need()
		for range rapid.IntRange(0, 3).Draw(t, "tried") {
			if len(nodes) > 0 {
				n := rapid.SampledFrom(nodes).Draw(t, "whom")
				need.Tried = append(need.Tried, Place{Node: n.ID, Group: n.Group, Account: n.Account, Vote: rapid.Bool().Draw(t, "vote")})
			}
		}
		got, s := Choose(need, nodes)
		fell := 0
		for _, f := range s.Fell {
			fell += f.Count
		}
		var fit []Node
		for i := range nodes {
			if _, refused := Refuse(need, &nodes[i]); !refused {
				fit = append(fit, nodes[i])
			}
		}
		if fell+len(fit) != len(nodes) || (got < 0) != (len(fit) == 0) {
			t.Fatalf("%d of %d fell, %d fit, chose %d", fell, len(nodes), len(fit), got)
		}
		shuffled := rapid.Permutation(nodes).Draw(t, "order")
		again, _ := Choose(need, shuffled)
		if got >= 0 && shuffled[again].ID != nodes[got].ID {
			t.Fatal("the order of nodes matters")
		}
		for i := range fit {
			if cost(need, &fit[i]) < cost(need, &nodes[got]) {
				t.Fatal("a cheaper node was passed over")
			}
		}
	})
}

func TestGroup(t *testing.T) {
	for _, c := range []struct{ addr, lan, wan string }{
		{"203.0.113.77", "203.0.113.0/24", "203.0.113.0/24"},
		{"::ffff:203.0.113.77", "203.0.113.0/24", "203.0.113.0/24"},
		{"2001:db8:1:2::3", "2001:db8:1::/48", "2001:db8:1::/48"},
		{"192.168.1.5", "", "192.168.1.0/24"},
		{"10.1.2.3", "", "10.1.2.0/24"},
		{"127.0.0.1", "", "127.0.0.0/24"},
		{"::1", "", "::/48"},
		{"fe80::1%eth0", "", "fe80::/48"},
		{"fd00:1:2:3::4", "", "fd00:1:2::/48"},
	} {
		a := netip.MustParseAddr(c.addr)
		if lan, wan := Group(LAN, a, false, ""), Group(WAN, a, false, ""); lan != c.lan || wan != c.wan {
			t.Errorf("%s: lan %q wan %q, want %q %q", c.addr, lan, wan, c.lan, c.wan)
		}
	}
	if g := Group(LAN, netip.MustParseAddr("127.0.0.1"), true, "12D3"); g != "relay:12D3" {
		t.Errorf("relayed: %q", g)
	}
	if g := Group(LAN, netip.Addr{}, false, ""); g != "unknown" {
		t.Errorf("no address: %q", g)
	}
	if a, b := Account("", tasks.NodeID{1}, "g"), Account("alice", tasks.NodeID{1}, "g"); a == b || b != Account("alice", tasks.NodeID{2}, "h") {
		t.Errorf("accounts %q %q", a, b)
	}
	if Account("x", tasks.NodeID{}, "") == Account("", tasks.NodeID{}, "x") {
		t.Error("a subject can pass for a node")
	}
}

func TestAnswering(t *testing.T) {
	for _, c := range []struct {
		want, audience int
		p              float64
	}{{4, 0, 1}, {4, 12, 1}, {4, 24, 0.5}, {1, 3000, 0.001}, {0, 10, 0}, {0, 0, 0}, {-1, -1, 0}} {
		if p := AnswerProbability(c.want, c.audience); p != c.p {
			t.Errorf("want %d of %d: %v, want %v", c.want, c.audience, p, c.p)
		}
	}
	if !Answers(4, 24, 0.49) || Answers(4, 24, 0.5) || !Answers(1, 1, 0.999) {
		t.Error("answers")
	}
	for _, c := range []struct {
		rtt  time.Duration
		load int
		r    float64
		open bool
		want time.Duration
	}{
		{50 * time.Millisecond, 0, 0, false, 50 * time.Millisecond},
		{50 * time.Millisecond, 500, 0.5, false, 110 * time.Millisecond},
		{50 * time.Millisecond, 5000, 0, false, 150 * time.Millisecond},
		{3 * time.Second, 1000, 0.9, false, MaxDelay},
		{-1, -5, 0, false, 0},
		{time.Second, 1000, 0.9, true, 0},
	} {
		if d := AnswerDelay(c.rtt, c.load, c.r, c.open); d != c.want {
			t.Errorf("%+v: %v", c, d)
		}
	}
}

func TestRing(t *testing.T) {
	for _, c := range []struct {
		elapsed time.Duration
		ring    int
		next    time.Duration
	}{
		{0, 0, 3 * time.Second},
		{2999 * time.Millisecond, 0, 3 * time.Second},
		{3 * time.Second, 1, 9 * time.Second},
		{9 * time.Second, 2, 21 * time.Second},
		{21 * time.Second, 3, 45 * time.Second},
		{45 * time.Second, 4, 93 * time.Second},
		{93 * time.Second, 5, 153 * time.Second},
		{153 * time.Second, 6, 213 * time.Second},
		{time.Hour, LastRing, 3633 * time.Second},
	} {
		if ring, next := Ring(c.elapsed); ring != c.ring || next != c.next {
			t.Errorf("after %v: ring %d, next %v, want %d %v", c.elapsed, ring, next, c.ring, c.next)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Duration(rapid.Int64Range(0, int64(100*365*24*time.Hour)).Draw(t, "elapsed"))
		ring, next := Ring(at)
		if next <= at || next-at > LongestGap || ring < 0 || ring > LastRing {
			t.Fatalf("after %v: ring %d, next %v", at, ring, next)
		}
		if later, _ := Ring(next); later < ring {
			t.Fatal("a ring that shrinks")
		}
	})
}

func TestNoAllocation(t *testing.T) {
	nodes, need := bench(64)
	if n := testing.AllocsPerRun(100, func() { Choose(need, nodes) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func bench(n int) ([]Node, *Need) {
	var nodes []Node
	for i := range n {
		x := node(byte(i))
		x.Kinds = []string{"etl.chunk", "etl.dedup", "etl.lang", "etl.zstd"}
		nodes = append(nodes, x)
	}
	need := need()
	need.Policy.Regions = []string{"FR", "DE"}
	need.Tried = []Place{{Node: nodes[0].ID, Group: nodes[0].Group, Account: nodes[0].Account, Vote: true}}
	slices.SortFunc(need.Known, func(a, b tasks.NodeID) int { return bytes.Compare(a[:], b[:]) })
	return nodes, need
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{4, 64, 1000} {
		nodes, need := bench(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Choose(need, nodes)
			}
		})
	}
}

// Under a strict policy it counts where a node is seen, not where it says it is.
func TestStrictRegion(t *testing.T) {
	strict := tasks.Policy{Strict: true, Regions: []string{"DE", "FR"}}
	not := tasks.Policy{Strict: true, Excluded: []string{"US"}}
	lax := tasks.Policy{Regions: []string{"DE"}}
	for _, c := range []struct {
		name       string
		p          tasks.Policy
		says, seen string
		want       tasks.Code
	}{
		{"seen where it may be", strict, "DE", "DE", ""},
		{"seen elsewhere", strict, "DE", "US", tasks.WrongRegion},
		{"not seen", strict, "DE", "", tasks.UnseenRegion},
		{"says nothing and is seen", strict, "", "FR", ""},
		{"seen where it may not be", not, "DE", "US", tasks.WrongRegion},
		{"not seen where it may not be", not, "DE", "", tasks.UnseenRegion},
		{"seen anywhere else", not, "US", "DE", ""},
		{"its word is enough", lax, "DE", "US", ""},
	} {
		code, _ := Refuse(&Need{Policy: &c.p}, &Node{Region: c.says, Seen: c.seen, Free: 1, Honest: 1000})
		if code != c.want {
			t.Errorf("%s: %q, want %q", c.name, code, c.want)
		}
	}
}
