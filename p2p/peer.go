package p2p

import (
	"errors"
	"io"
	"net/netip"
	"time"
)

// Errors that every package below p2p returns. Match them with errors.Is.
var (
	// ErrUnreachable: no connection to the peer could be made; the wrapped text says what was tried.
	ErrUnreachable = errors.New("peer cannot be reached")
	// ErrUnsupported: the peer does not speak the protocol; the wrapped text names the versions it does speak.
	ErrUnsupported = errors.New("peer does not speak this protocol version")
	// ErrRefused: the peer is connected and reset the stream before it began: it is over a limit, or busy closing.
	ErrRefused = errors.New("peer refused the stream")
	// ErrLimited: the only connection to the peer runs through a relay, which carries no such traffic.
	ErrLimited = errors.New("only a relayed connection to the peer exists")
	// ErrClosed: this part of the node was closed.
	ErrClosed = errors.New("network is closed")
)

// Stream is one ordered, reliable, authenticated byte stream to a peer. One goroutine may read while another writes;
// the other methods are safe for concurrent use.
type Stream interface {
	io.Reader
	io.Writer
	// Close ends both directions in order: what was written arrives. It does not wait for the peer.
	Close() error
	// CloseWrite tells the peer that no more comes; reading goes on.
	CloseWrite() error
	// Reset ends both directions at once; what is under way may be lost, and the peer's reads fail.
	Reset() error
	// SetDeadline limits reads and writes; the zero time is no limit. An expired one fails with os.ErrDeadlineExceeded
	// or a net.Error whose Timeout is true.
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Remote is the peer that the transport authenticated.
	Remote() ID
	// RemoteIP is the address that the peer was observed at, or the zero Addr when the connection is relayed.
	RemoteIP() netip.Addr
	// Relayed reports whether the bytes run through a relay, which limits time and volume.
	Relayed() bool
	// Protocol is the full protocol id, "/kith/<network>/<name>/<version>".
	Protocol() string
}

// Direction says who dialled a connection.
type Direction string

// The two directions.
const (
	Inbound  Direction = "in"
	Outbound Direction = "out"
)

// PeerInfo is what is known about one connected peer.
type PeerInfo struct {
	ID        ID            `json:"id"`
	Addrs     []string      `json:"addrs"`     // dialable texts that end in /p2p/…, best first, at most MaxAddrs
	Remote    string        `json:"remote"`    // the address of the best open connection
	IP        netip.Addr    `json:"ip"`        // observed source address; the zero Addr when relayed
	Transport string        `json:"transport"` // "quic", "tcp", "relay" or "memory"
	Relayed   bool          `json:"relayed"`   // no direct connection exists
	Direction Direction     `json:"direction"`
	Since     time.Time     `json:"since"` // when the best connection was made
	RTT       time.Duration `json:"rtt"`   // smoothed, measured by ping; 0: not yet measured
	Agent     string        `json:"agent"` // what the peer calls its software; not to be trusted
	Streams   int           `json:"streams"`
}

// MaxAddrs is the most addresses of one node that Kith passes on.
const MaxAddrs = 4

// Reachability says whether strangers can dial this node.
type Reachability string

// The states of reachability.
const (
	ReachUnknown Reachability = "unknown"
	ReachPublic  Reachability = "public"
	ReachPrivate Reachability = "private"
)

// PeerEvent reports that a peer became connected or disconnected.
type PeerEvent struct {
	Peer      ID
	Connected bool
	Relayed   bool // meaningful when Connected
}

// Traffic counts bytes since the start.
type Traffic struct {
	In  int64 `json:"in"`
	Out int64 `json:"out"`
	// Writes is how often something was written; only a wrapped host counts that.
	Writes int64 `json:"-"`
}
