package host

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"kith/p2p"
)

// Profile says what kind of network a node lives in.
type Profile string

// The profiles.
const (
	// LAN keeps private and loopback addresses, measures no reachability and asks no router for ports.
	LAN Profile = "lan"
	// WAN measures reachability (AutoNAT v2), maps a port at the router, punches holes and uses relays.
	WAN Profile = "wan"
)

// Listen says where a node accepts connections.
type Listen string

// The listen scopes.
const (
	ListenAll      Listen = "all"      // every interface, IPv4 and IPv6
	ListenLoopback Listen = "loopback" // 127.0.0.1 only
	ListenNone     Listen = "none"     // outbound-only: no listener is opened at all
)

// Transports says which transports a node uses.
type Transports string

// The transport sets. Both use TLS 1.3 with both ends authenticated.
const (
	QUICAndTCP Transports = "quic+tcp"
	QUICOnly   Transports = "quic"
	TCPOnly    Transports = "tcp"
)

// Config is everything a host needs. The zero value of a field means the default of the table below.
type Config struct {
	Key     ed25519.PrivateKey // identity; required
	Network string             // name of the network: lower-case letters, digits, dashes, 1 to 32; required
	Profile Profile            // default WAN

	Listen     Listen     // default ListenAll
	Port       int        // the same number for TCP and UDP; 0: the system chooses one
	PortRange  int        // how many ports after Port to try when Port is taken; 0: none, a taken port is an error
	Preferred  int        // tried first if Port and PortRange allow it: the port others know from the last run; 0: none
	Transports Transports // default QUICAndTCP
	UDPFirst   bool       // dial QUIC before TCP even inside the LAN, to spare a home router's TCP tables

	LowWater  int   // connections kept when trimming; default 64
	HighWater int   // connections at which trimming starts; twice as many inbound ones are refused outright; default 128
	Memory    int64 // bytes the resource manager lets the network buffers take; default 256 MiB

	// Public says that strangers can dial this node, by its owner's word: nothing is measured. The first nodes of a network
	// have nobody who could measure it for them.
	Public bool
	// ServeStrangers is the owner's consent to spend upload on strangers: a circuit relay and AutoNAT answers, only
	// when publicly reachable.
	ServeStrangers bool
	// Relays are dialable addresses of relays that this node asks for a reservation while strangers cannot dial it, before
	// it asks connected peers that offer to relay.
	Relays []string

	// Refuse says of a peer that this node has nothing to do with it: no connection with it is made or accepted. It is
	// called often and from any goroutine. nil: nobody is refused.
	Refuse func(p2p.ID) bool

	UserAgent string       // default "kith"
	Logger    *slog.Logger // default slog.Default()
}

// Defaults, in one table.
const (
	defaultLowWater  = 64
	defaultHighWater = 128
	defaultMemory    = 256 << 20
	defaultUserAgent = "kith"

	gracePeriod   = 20 * time.Second // a new connection is safe from trimming for so long
	silencePeriod = 10 * time.Second // between two trims
	dialTimeout   = 15 * time.Second
	closeTimeout  = 5 * time.Second

	pingEvery   = time.Minute     // per peer, with jitter; 20 peers cost about 200 B/s
	pingTimeout = 5 * time.Second // an unanswered ping is not a measurement

	// What this node relays for strangers, with the owner's consent: sessions, which say little for long, not blocks.
	relayTime     = 30 * time.Minute // one circuit
	relayBytes    = 4 << 20          // one circuit, each way
	relayPeers    = 64               // reservations
	relayCircuits = 8                // circuits to one peer

	eventQueue = 256 // peer events waiting for one watcher; more are dropped and counted

	perPeerConns      = 8   // connections with one peer
	perPeerStreamsIn  = 128 // streams one peer may hold open here
	perPeerStreamsOut = 256
	perPeerMemory     = 64 << 20
	subnetConns       = 16 // connections from one IPv4 address or one IPv6 /56, outside loopback and (profile LAN) private ranges
)

var networkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// errConfig marks a configuration that no retry can help.
var errConfig = errors.New("network configuration")

func (c *Config) complete() error {
	if len(c.Key) != ed25519.PrivateKeySize {
		return fmt.Errorf("%w: identity key has %d bytes, want %d", errConfig, len(c.Key), ed25519.PrivateKeySize)
	}
	if !networkName.MatchString(c.Network) {
		return fmt.Errorf("%w: network name %.40q: want 1 to 32 of a-z, 0-9 and dash", errConfig, c.Network)
	}
	if c.Profile == "" {
		c.Profile = WAN
	}
	if c.Listen == "" {
		c.Listen = ListenAll
	}
	if c.Transports == "" {
		c.Transports = QUICAndTCP
	}
	if c.LowWater == 0 {
		c.LowWater = defaultLowWater
	}
	if c.HighWater == 0 {
		c.HighWater = max(defaultHighWater, c.LowWater)
	}
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case c.Profile != LAN && c.Profile != WAN:
		return fmt.Errorf("%w: profile %.20q: want lan or wan", errConfig, c.Profile)
	case c.Listen != ListenAll && c.Listen != ListenLoopback && c.Listen != ListenNone:
		return fmt.Errorf("%w: listen %.20q: want all, loopback or none", errConfig, c.Listen)
	case c.Transports != QUICAndTCP && c.Transports != QUICOnly && c.Transports != TCPOnly:
		return fmt.Errorf("%w: transports %.20q: want quic+tcp, quic or tcp", errConfig, c.Transports)
	case c.Port < 0 || c.Port > 65535 || c.PortRange < 0 || c.Port+c.PortRange > 65535:
		return fmt.Errorf("%w: port %d with range %d is outside 0 to 65535", errConfig, c.Port, c.PortRange)
	case c.LowWater < 1 || c.HighWater < c.LowWater:
		return fmt.Errorf("%w: connection limits %d/%d: want 1 ≤ low ≤ high", errConfig, c.LowWater, c.HighWater)
	case c.Memory < 32<<20:
		return fmt.Errorf("%w: %d bytes of network memory: want at least 32 MiB", errConfig, c.Memory)
	}
	return nil
}
