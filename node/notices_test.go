package node

import (
	"crypto/ed25519"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/node/owner"
	"kith/p2p"
	"kith/tasks"
	"kith/tasks/wire"
)

// steward makes a key and the name of its node.
func steward(t *testing.T) (ed25519.PrivateKey, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, tasks.NodeID(key.Public().(ed25519.PublicKey)).String()
}

func notice(t *testing.T, n wire.Notice, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	now := time.Now()
	n.Time, n.Expiry, n.Reason = now.UnixMilli(), now.Add(time.Hour).UnixMilli(), tasks.Because(tasks.Killed, "a drill")
	n.Nonce = [16]byte{byte(now.UnixNano()), byte(now.UnixNano() >> 8), byte(now.UnixNano() >> 16)}
	var sigs []wire.Endorsement
	for _, k := range keys {
		sigs = append(sigs, wire.Endorse("main", k, n))
	}
	data, err := wire.JoinNotice("main", n, sigs)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (r *running) level(t *testing.T) string {
	t.Helper()
	s, err := r.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Owner.Level
}

// TestStewardsStopTheNetwork: two of three must sign; the order reaches neighbours by gossip and late-comers by asking; it
// holds over a restart, until the owner says otherwise, and is not obeyed twice.
func TestStewardsStopTheNetwork(t *testing.T) {
	a, idA := steward(t)
	b, idB := steward(t)
	_, idC := steward(t)
	stranger, _ := steward(t)
	set := map[string]string{"stop.stewards": strings.Join([]string{idA, idB, idC}, ","), "stop.needed": "2"}
	first := start(t, t.TempDir(), set)
	with := map[string]string{"peers.bootstrap": first.addr(t)}
	for k, v := range set {
		with[k] = v
	}
	second := start(t, t.TempDir(), with)
	bystander := start(t, t.TempDir(), map[string]string{"peers.bootstrap": first.addr(t)})
	eventually(t, "all are connected", func() bool { p, err := first.api.Peers(t.Context()); return err == nil && len(p) == 2 })

	for name, bad := range map[string][]byte{
		"one signature":           notice(t, wire.Notice{Action: wire.Stop}, a),
		"a stranger's":            notice(t, wire.Notice{Action: wire.Stop}, a, stranger),
		"nonsense":                []byte("stop!"),
		"nothing":                 nil,
		"the same one twice over": notice(t, wire.Notice{Action: wire.Stop}, b, b),
	} {
		if _, err := first.api.PublishNotice(t.Context(), bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if l := first.level(t); l != "full" {
		t.Fatalf("level %s", l)
	}
	if _, err := first.api.PublishNotice(t.Context(), notice(t, wire.Notice{Action: wire.Stop}, a, b)); err != nil {
		t.Fatal(err)
	}
	if l := first.level(t); l != "killed" {
		t.Fatalf("level %s after the notice", l)
	}
	eventually(t, "the neighbour stops", func() bool { return second.level(t) == "killed" })
	if l := bystander.level(t); l != "full" {
		t.Errorf("a node without stewards is %s", l)
	}
	late := start(t, t.TempDir(), with)
	eventually(t, "who comes late stops", func() bool { return late.level(t) == "killed" })

	home := second.home
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	second = start(t, home, with)
	if l := second.level(t); l != "killed" {
		t.Fatalf("after a restart: %s", l)
	}
	if o, err := second.api.Owner(t.Context(), "resume"); err != nil || o.Level != "full" {
		t.Fatalf("resume: %+v, %v", o, err)
	}
	l := second.live.Load()
	eventually(t, "it is connected again", func() bool { return len(l.network.host.Peers()) > 0 })
	if err := l.notices.ask(t.Context(), l.network.host.Peers()[0].ID); err != nil {
		t.Logf("ask: %v", err)
	}
	if l := second.level(t); l != "full" {
		t.Error("the owner resumed, and the same notice stopped the node again")
	}
	list, err := second.api.Notices(t.Context())
	if err != nil || len(list) != 1 || list[0].Action != "stop" || list[0].Reason != "a drill" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestStaleFeedStops: an owner who wants fresh words of the stewards works only while there are some.
func TestStaleFeedStops(t *testing.T) {
	a, idA := steward(t)
	n := start(t, t.TempDir(), map[string]string{"stop.stewards": idA, "stop.needed": "1", "stop.stale": "1h"})
	eventually(t, "it stops for want of a word", func() bool { return n.level(t) == "paused" })
	if _, err := n.api.PublishNotice(t.Context(), notice(t, wire.Notice{Action: wire.Resume}, a)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word lets it go on", func() bool { return n.level(t) == "full" })
	if _, err := n.api.PublishNotice(t.Context(), notice(t, wire.Notice{Action: wire.Revoke, Subject: tasks.NodeID{9}}, a)); err != nil {
		t.Fatal(err)
	}
	if !n.live.Load().notices.isRevoked(tasks.NodeID{9}) || n.live.Load().notices.isRevoked(tasks.NodeID{8}) {
		t.Error("the revocation is not known, or too broad")
	}
	if _, err := n.api.PublishNotice(t.Context(), notice(t, wire.Notice{Action: wire.Stop, Job: tasks.JobID{7}}, a)); err != nil {
		t.Fatal(err)
	}
	if r := n.fits(tasks.Assignment{Job: tasks.JobID{7}}); r == nil || r.Code != tasks.Killed {
		t.Errorf("a task of the stopped job: %v", r)
	}
	if r := n.fits(tasks.Assignment{Job: tasks.JobID{6}}); r != nil {
		t.Errorf("a task of another job: %v", r)
	}
	if l := n.level(t); l != "full" {
		t.Errorf("the stop of one job left the node %s", l)
	}
}

// TestRevokedNode: whoever the stewards revoke is cut off and stays out, over a restart too; others are not.
func TestRevokedNode(t *testing.T) {
	a, idA := steward(t)
	home := t.TempDir()
	set := map[string]string{"stop.stewards": idA, "stop.needed": "1"}
	n := start(t, home, set)
	with := map[string]string{"peers.bootstrap": n.addr(t)}
	bad, good := start(t, t.TempDir(), with), start(t, t.TempDir(), with)
	connected := func(to *running) bool {
		direct, relayed := n.live.Load().network.host.Connected(p2p.ID(to.self.Node()))
		return direct || relayed
	}
	eventually(t, "both are connected", func() bool { return connected(bad) && connected(good) })
	if _, err := n.api.PublishNotice(t.Context(), notice(t, wire.Notice{Action: wire.Revoke, Subject: bad.self.Node()}, a)); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		eventually(t, "the revoked node is cut off", func() bool { return !connected(bad) })
		for _, from := range []*running{bad, good} {
			l := from.live.Load()
			l.network.host.Remember(n.live.Load().network.host.Addrs(), time.Hour)
			if s, err := l.network.rpc.Open(t.Context(), p2p.ID(n.self.Node()), registerProto); err == nil {
				_ = s.Reset()
			}
		}
		eventually(t, "the other is let in", func() bool { return connected(good) })
		if connected(bad) {
			t.Error("the revoked node is let in")
		}
	}
	check()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, home, set)
	check()
}

// TestStopFile: a file in the data folder stops everything, over a restart, until the owner says resume.
func TestStopFile(t *testing.T) {
	home := t.TempDir()
	n := start(t, home, nil)
	if err := os.WriteFile(filepath.Join(home, stopFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stops", func() bool { return n.level(t) == "killed" })
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, home, nil)
	if l := n.level(t); l != "killed" {
		t.Fatalf("after a restart: %s", l)
	}
	o, err := n.api.Owner(t.Context(), "resume")
	if err != nil || o.Level != "full" {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, err := os.Stat(filepath.Join(home, stopFile)); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestSnoozeOfANode(t *testing.T) {
	home := t.TempDir()
	n := start(t, home, nil)
	o, err := n.api.Snooze(t.Context(), time.Hour)
	if err != nil || o.Level != "paused" || len(o.Reasons) != 1 || o.Reasons[0].Cause != string(owner.BySnooze) || o.Reasons[0].Until == 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, home, nil)
	if l := n.level(t); l != "paused" {
		t.Fatalf("after a restart: %s", l)
	}
	if o, err := n.api.Snooze(t.Context(), 0); err != nil || o.Level != "full" {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, err := n.api.Snooze(t.Context(), 10000*time.Hour); err == nil {
		t.Error("a snooze of a year was taken")
	}
}

func FuzzReadNotices(f *testing.F) {
	f.Add(append(binary.AppendUvarint(nil, 3), "abc"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := readNotices(strings.NewReader(string(b)))
		for _, d := range list {
			if len(d) == 0 || len(d) > wire.MaxNotice {
				t.Fatalf("notice of %d bytes", len(d))
			}
		}
	})
}
