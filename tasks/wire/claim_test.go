package wire

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

func TestClaims(t *testing.T) {
	for want := Asked; want <= Approved; want++ {
		c := sampleClaims(t, want)
		if got, err := c.Verify(testNet); err != nil || got != want {
			t.Errorf("word %d, want %d; %v", got, want, err)
		}
		if said, word := c.Heard.Says(); word != want || len(said) != len(c.Leases) || said[1] != c.Leases[1].Lease(id(key(1))) {
			t.Errorf("word %d is said as %d of %d leases", want, word, len(said))
		}
	}
	again := func(spoil func(*Claims)) func(*Claims) { // with the worker's signature, which is its to make
		return func(c *Claims) { spoil(c); c.Sign(testNet, key(1)) }
	}
	for name, spoil := range map[string]func(*Claims){
		"another signature":              func(c *Claims) { c.Signed[0]++ },
		"signed by somebody else":        func(c *Claims) { c.Sign(testNet, key(3)) },
		"more time than was signed":      func(c *Claims) { c.Leases[0].CPUMillis++ },
		"another task":                   again(func(c *Claims) { c.Leases[0].Task[0]++ }),
		"another attempt":                again(func(c *Claims) { c.Leases[0].Attempt++ }),
		"a lease twice":                  again(func(c *Claims) { c.Leases[1] = c.Leases[0] }),
		"no lease":                       again(func(c *Claims) { c.Leases = nil }),
		"more leases than a message has": again(func(c *Claims) { c.Leases = make([]Claim, MaxLeases+1) }),
		"time that cannot be":            again(func(c *Claims) { c.Leases[0].CPUMillis = MaxSlots*MaxLeaseTime.Milliseconds() + 1 }),
		"negative time":                  again(func(c *Claims) { c.Leases[0].CPUMillis = -1 }),
		"no result":                      again(func(c *Claims) { c.Leases[0].Root = dag.CID{} }),
		"a kind without a name":          again(func(c *Claims) { c.Leases[0].Kinds = []string{""} }),
		"a body that was not said":       again(func(c *Claims) { c.Heard.Body[len(c.Heard.Body)-1]++ }),
		"a truncated body":               again(func(c *Claims) { c.Heard.Body = c.Heard.Body[:len(c.Heard.Body)-1] }),
		"a body beyond all limits":       again(func(c *Claims) { c.Heard.Body = make([]byte, 1<<20) }),
		"a head nobody signed":           again(func(c *Claims) { c.Heard.Head.Seq++ }),
		"another worker":                 again(func(c *Claims) { c.Heard.Head.Worker = id(key(3)) }),
		"its own word": again(func(c *Claims) {
			c.Heard.Head.From = Worker
			c.Heard.Head.Sig = Signature{}
		}),
	} {
		for word := Asked; word <= Approved; word++ {
			c := sampleClaims(t, word)
			spoil(&c)
			if _, err := c.Verify(testNet); err == nil {
				t.Errorf("%s: verifies by word %d", name, word)
			}
		}
	}
	for name, spoil := range map[string]func(*Claims){ // what only an acknowledgement says
		"another result":                  again(func(c *Claims) { c.Leases[0].Root = dag.Sum(dag.Raw, dag.SHA256, []byte("better")) }),
		"other bytes":                     again(func(c *Claims) { c.Leases[0].Digest[0]++ }),
		"an acknowledgement as a verdict": again(func(c *Claims) { c.Heard.Head.Type = TypeVerdicts }),
		"one of another lease": again(func(c *Claims) {
			x := sampleClaims(t, Got)
			c.Heard, c.Leases = x.Heard, c.Leases[:1]
			c.Leases[0].Epoch++
		}),
		"one that the worker wrote itself": again(func(c *Claims) {
			c.Heard.Head.Sig = Signature(ed25519.Sign(key(1), c.Heard.Head.signed(nil, testNet)))
		}),
	} {
		c := sampleClaims(t, Got)
		spoil(&c)
		if _, err := c.Verify(testNet); err == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	for word := Asked; word <= Approved; word++ {
		c := sampleClaims(t, word)
		if _, err := c.Verify("elsewhere"); !errors.Is(err, ErrSignature) {
			t.Errorf("word %d on another network: %v", word, err)
		}
		c.Sign("elsewhere", key(1)) // the worker's own signature is its to make
		if _, err := c.Verify("elsewhere"); !errors.Is(err, ErrSignature) {
			t.Errorf("word %d carried to another network: %v", word, err)
		}
	}
	c := sampleClaims(t, Approved)
	// What was outvoted is not claimed by the verdict that says so, and no other message says anything of results.
	w, s := pair()
	for _, m := range []Message{&Welcome{Session: w.ID(), Time: testNow}, &NoWork{Reason: tasks.Because(tasks.NoTasksLeft, "")}} {
		f := must(s.Seal(m, testNow))
		if _, err := w.Open(f[frameHead:], testNow); err != nil {
			t.Fatal(err)
		}
		c.Heard = must(w.Spoken(f[frameHead:]))
		c.Sign(testNet, key(1))
		if _, err := c.Verify(testNet); !errors.Is(err, ErrType) {
			t.Errorf("%s: %v", m.Type(), err)
		}
	}
	if _, err := w.Spoken(must(s.Seal(&Cancel{Leases: []tasks.LeaseID{{1}}, Reason: tasks.Because(tasks.JobCancelled, "")}, testNow))[frameHead:]); !errors.Is(err, ErrSequence) {
		t.Errorf("a message that was not opened: %v", err)
	}
}

func FuzzClaims(f *testing.F) {
	for word := Asked; word <= Approved; word++ {
		c := sampleClaims(f, word)
		f.Add(marshal(&c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Claims
		if unmarshal(b, &c) == nil {
			_, _ = c.Verify(testNet)
			_, _ = c.Heard.Says()
		}
	})
}
