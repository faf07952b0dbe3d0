// Package gossip carries small signed announcements to everybody who listens to a topic. Delivery is best effort: what
// must arrive goes over a stream. Every message is validated before it is passed on, peers that send what no honest
// peer could send lose their standing, and every queue has a size set here and counts what it drops.
package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p-pubsub/timecache"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/internal/lp"
)

// MaxMessage is the largest message in bytes, envelope included.
const MaxMessage = 4 << 10

// ErrTooLarge: the message is over MaxMessage.
var ErrTooLarge = errors.New("gossip message too large")

// Defaults, in one table.
const (
	envelope       = 512 // bytes that signature, author, sequence number and topic may take of MaxMessage
	validateQueue  = 256 // messages waiting for validation; more are dropped and counted
	validateAtOnce = 64  // messages of one topic in validation at once; more are dropped and counted
	validateTime   = 2 * time.Second
	outboundQueue  = 64  // messages waiting for one peer; more are dropped and counted
	receiveQueue   = 256 // messages waiting for the handler of one topic; more are dropped and counted
	maxTopics      = 256 // subscriptions that one peer may announce at once
	maxControl     = 64 << 10
	seenFor        = 5 * time.Minute // a message is passed on once in so long
	scoreKept      = 6 * time.Hour   // standing of a peer that left
	heartbeat      = time.Second
)

// Verdict is what a validator says of a message.
type Verdict int

// The verdicts. Reject only what an honest peer could never send, such as a broken encoding or signature: it costs the
// peer that passed it on its standing. Ignore what is late, doubled, unknown or over a quota.
const (
	Accept Verdict = iota
	Ignore
	Reject
)

// Options configure the gossip of a node. The zero value is good.
type Options struct {
	// Standing is added to a peer's score, which decides whom this node listens to: 0 for a stranger, positive for a
	// good friend (at most 100 or so), −1000 and less for a peer nobody should hear. nil: 0 for all. It is called often
	// and must be quick.
	Standing func(p2p.ID) float64
	// Exchange lets this node hand out addresses of other peers when it prunes one; for bootstrap nodes.
	Exchange bool
}

// Gossip is a node's part in all topics. All methods are safe for concurrent use. New starts pubsub's goroutines;
// Close ends them.
type Gossip struct {
	h      *host.Host
	ps     *pubsub.PubSub
	prefix string
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	st     counters

	mu     sync.Mutex
	closed bool
	topics map[string]*Topic
}

// New joins the gossip of the host's network; no topic yet.
func New(h *host.Host, o Options) (*Gossip, error) {
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gossip{
		h: h, prefix: "/kith/" + h.Network() + "/", log: h.Logger(), ctx: ctx, cancel: cancel, topics: map[string]*Topic{},
	}
	score, thresholds := scores(h.Profile(), o.Standing)
	ps, err := pubsub.NewGossipSub(ctx, h.Libp2p(),
		pubsub.WithGossipSubProtocols([]protocol.ID{protocol.ID(g.prefix + "meshsub/1.2")}, features),
		pubsub.WithGossipSubParams(params()),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(MaxMessage*16), // an RPC carries several messages; judge checks each
		pubsub.WithMaxControlMessageSize(maxControl),
		pubsub.WithValidateQueueSize(validateQueue),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithSeenMessagesTTL(seenFor),
		pubsub.WithSeenMessagesStrategy(timecache.Strategy_FirstSeen),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(prefixFilter(g.prefix), maxTopics)),
		pubsub.WithPeerScore(score, thresholds),
		pubsub.WithPeerExchange(o.Exchange),
		pubsub.WithFloodPublish(true), // own messages go to every listener this node knows: a young mesh is empty for a second
		pubsub.WithRawTracer(&g.st),
		pubsub.WithLogger(h.Logger()),
		pubsub.WithRPCLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	g.ps = ps
	return g, nil
}

// features says that our one protocol has everything gossipsub 1.2 has.
func features(f pubsub.GossipSubFeature, _ protocol.ID) bool {
	return f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeaturePX || f == pubsub.GossipSubFeatureIdontwant
}

// params keep a home connection quiet: the mesh is gossipsub's, but what was heard is advertised to few.
func params() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.HeartbeatInterval = heartbeat
	p.Dlazy = 3
	p.GossipFactor = 0.1
	p.MaxPendingConnections = 16
	p.Connectors = 2
	p.MaxIHaveLength = 500
	return p
}

// messageID names a message by topic and content, so that one re-published by several peers travels once.
func messageID(m *pb.Message) string {
	h := sha256.New()
	h.Write([]byte(m.GetTopic()))
	h.Write([]byte{0})
	h.Write(m.GetData())
	return string(h.Sum(nil)[:20])
}

// prefixFilter allows the topics of one network.
type prefixFilter string

func (f prefixFilter) CanSubscribe(topic string) bool { return strings.HasPrefix(topic, string(f)) }

func (f prefixFilter) FilterIncomingSubscriptions(_ peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	return pubsub.FilterSubscriptions(subs, f.CanSubscribe), nil
}

// scores judge peers by what they send. Mesh delivery (P3) is off: in small networks it punishes the honest. Peers of
// one house share an address, so colocation counts only outside private ranges, and there from the 17th on.
func scores(profile host.Profile, standing func(p2p.ID) float64) (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	app := func(peer.ID) float64 { return 0 }
	if standing != nil {
		app = func(p peer.ID) float64 {
			id, err := lp.ID(p)
			if err != nil {
				return 0
			}
			return standing(id)
		}
	}
	var private []*net.IPNet
	for _, cidr := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"} {
		if _, n, err := net.ParseCIDR(cidr); err == nil {
			private = append(private, n)
		}
	}
	p := &pubsub.PeerScoreParams{
		Topics:                      map[string]*pubsub.TopicScoreParams{},
		TopicScoreCap:               100,
		AppSpecificScore:            app,
		AppSpecificWeight:           1,
		IPColocationFactorWeight:    -10,
		IPColocationFactorThreshold: 16,
		IPColocationFactorWhitelist: private,
		BehaviourPenaltyWeight:      -10,
		BehaviourPenaltyThreshold:   6,
		BehaviourPenaltyDecay:       pubsub.ScoreParameterDecay(time.Hour),
		DecayInterval:               pubsub.DefaultDecayInterval,
		DecayToZero:                 pubsub.DefaultDecayToZero,
		RetainScore:                 scoreKept,
		SeenMsgTTL:                  seenFor,
	}
	if profile == host.LAN {
		p.IPColocationFactorWeight = 0
	}
	return p, &pubsub.PeerScoreThresholds{
		GossipThreshold: -500, PublishThreshold: -1000, GraylistThreshold: -2500,
		AcceptPXThreshold: 50, OpportunisticGraftThreshold: 3.5,
	}
}

func topicScores() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		TopicWeight:                    0.2,
		TimeInMeshWeight:               0.00027,
		TimeInMeshQuantum:              time.Second,
		TimeInMeshCap:                  3600,
		FirstMessageDeliveriesWeight:   0.5,
		FirstMessageDeliveriesDecay:    pubsub.ScoreParameterDecay(30 * time.Minute),
		FirstMessageDeliveriesCap:      100,
		InvalidMessageDeliveriesWeight: -1000,
		InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(time.Hour),
	}
}

// Topic is a node's part in one topic.
type Topic struct {
	g    *Gossip
	name string
	t    *pubsub.Topic
	sub  *pubsub.Subscription
	once sync.Once
	wg   sync.WaitGroup
}

// Join enters a topic. name has the form a/b/c; the network's prefix is added. validate judges each message of others
// before it goes on to anybody, in several goroutines at once; it must be quick. receive gets each accepted message
// once, in one goroutine; a handler that falls receiveQueue messages behind loses the newest, which Stats counts. A
// topic may be joined once.
func (g *Gossip) Join(name string, validate func(from p2p.ID, data []byte) Verdict, receive func(from p2p.ID, data []byte)) (*Topic, error) {
	full := g.prefix + strings.Trim(name, "/")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, p2p.ErrClosed
	}
	if _, ok := g.topics[name]; ok {
		return nil, fmt.Errorf("topic %q is joined already", name)
	}
	err := g.ps.RegisterTopicValidator(full, func(_ context.Context, _ peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		return g.judge(m, validate)
	}, pubsub.WithValidatorTimeout(validateTime), pubsub.WithValidatorConcurrency(validateAtOnce))
	if err != nil {
		return nil, fmt.Errorf("join topic %q: %w", name, err)
	}
	t, err := g.ps.Join(full)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join topic %q: %w", name, err), g.ps.UnregisterTopicValidator(full))
	}
	if err := t.SetScoreParams(topicScores()); err != nil {
		return nil, errors.Join(fmt.Errorf("join topic %q: %w", name, err), t.Close(), g.ps.UnregisterTopicValidator(full))
	}
	sub, err := t.Subscribe(pubsub.WithBufferSize(receiveQueue))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join topic %q: %w", name, err), t.Close(), g.ps.UnregisterTopicValidator(full))
	}
	topic := &Topic{g: g, name: name, t: t, sub: sub}
	topic.wg.Go(func() { topic.receive(receive) })
	g.topics[name] = topic
	return topic, nil
}

// judge runs the topic's validator on what others sent; what this node publishes is its own to answer for.
func (g *Gossip) judge(m *pubsub.Message, validate func(p2p.ID, []byte) Verdict) pubsub.ValidationResult {
	from, err := lp.ID(m.GetFrom())
	if err != nil || len(m.Data)+envelope > MaxMessage {
		return pubsub.ValidationReject
	}
	if from == g.h.ID() && m.ReceivedFrom == g.h.Libp2p().ID() {
		return pubsub.ValidationAccept
	}
	switch validate(from, m.Data) {
	case Accept:
		return pubsub.ValidationAccept
	case Reject:
		return pubsub.ValidationReject
	}
	return pubsub.ValidationIgnore
}

func (t *Topic) receive(handle func(p2p.ID, []byte)) {
	self := t.g.h.Libp2p().ID()
	for {
		m, err := t.sub.Next(t.g.ctx)
		if err != nil {
			return // left or closed
		}
		from, err := lp.ID(m.GetFrom())
		if err != nil || m.GetFrom() == self {
			continue
		}
		handle(from, m.Data)
	}
}

// Name is the name the topic was joined under.
func (t *Topic) Name() string { return t.name }

// Publish sends data to the topic. That it returns nil does not mean that anybody heard. ErrTooLarge: data has more than
// MaxMessage bytes less the envelope. The same bytes again within seenFor go nowhere.
func (t *Topic) Publish(ctx context.Context, data []byte) error {
	if len(data)+envelope > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxMessage-envelope)
	}
	if err := t.t.Publish(ctx, data); err != nil {
		return fmt.Errorf("publish on %q: %w", t.name, err)
	}
	t.g.st.published.Add(1)
	return nil
}

// Peers counts the connected peers that listen to the topic.
func (t *Topic) Peers() int { return len(t.t.ListPeers()) }

// Leave ends the topic; the handler has returned when it returns, so it must not be called from the handler.
func (t *Topic) Leave() error {
	t.g.mu.Lock()
	delete(t.g.topics, t.name)
	t.g.mu.Unlock()
	return t.leave()
}

func (t *Topic) leave() (err error) {
	t.once.Do(func() {
		t.sub.Cancel()
		t.wg.Wait()
		full := t.t.String()
		err = errors.Join(t.t.Close(), t.g.ps.UnregisterTopicValidator(full))
	})
	return err
}

// Topics lists the joined topics by name.
func (g *Gossip) Topics() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := make([]string, 0, len(g.topics))
	for n := range g.topics {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Close leaves all topics.
func (g *Gossip) Close() error {
	g.mu.Lock()
	g.closed = true
	topics := g.topics
	g.topics = map[string]*Topic{}
	g.mu.Unlock()
	var errs []error
	for _, t := range topics {
		errs = append(errs, t.leave())
	}
	g.cancel()
	return errors.Join(errs...)
}

// Stats counts what happened since the start.
type Stats struct {
	Published   uint64 `json:"published"`   // own messages sent
	Delivered   uint64 `json:"delivered"`   // accepted messages of others
	Duplicates  uint64 `json:"duplicates"`  // heard again
	Rejected    uint64 `json:"rejected"`    // judged harmful, or badly signed
	Ignored     uint64 `json:"ignored"`     // judged useless
	Throttled   uint64 `json:"throttled"`   // dropped before validation: the queue was full
	Undelivered uint64 `json:"undelivered"` // accepted, but the handler was too slow
	Unsent      uint64 `json:"unsent"`      // dropped before sending: a peer's queue was full
}

// Stats returns the counts.
func (g *Gossip) Stats() Stats {
	return Stats{
		Published: g.st.published.Load(), Delivered: g.st.delivered.Load(), Duplicates: g.st.duplicates.Load(), Rejected: g.st.rejected.Load(),
		Ignored: g.st.ignored.Load(), Throttled: g.st.throttled.Load(), Undelivered: g.st.undelivered.Load(), Unsent: g.st.unsent.Load(),
	}
}

// counters implements pubsub.RawTracer.
type counters struct {
	published, delivered, duplicates, rejected, ignored, throttled, undelivered, unsent atomic.Uint64
}
