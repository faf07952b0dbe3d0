package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	ma "github.com/multiformats/go-multiaddr"
)

// ErrPortTaken: another program holds the port; the wrapped text names it and the remedy.
var ErrPortTaken = errors.New("port is taken")

const chosenPortTries = 16 // a port chosen for TCP may be taken for UDP; then the next one is tried

// choosePort finds a port that is free for every transport in use. libp2p listens with SO_REUSEPORT and is content with
// one listener of many, so that a taken port would show as a node that hears nothing; this asks first.
func choosePort(c Config) (int, error) {
	ip := netip.IPv4Unspecified()
	if c.Listen == ListenLoopback {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if p := c.Preferred; p > 0 && (c.Port == 0 || c.Port <= p && p <= c.Port+c.PortRange) {
		if _, err := tryPort(ip, p, c.Transports); err == nil {
			return p, nil
		}
	}
	if c.Port == 0 {
		var err error
		for range chosenPortTries {
			var port int
			if port, err = tryPort(ip, 0, c.Transports); err == nil {
				return port, nil
			}
		}
		return 0, fmt.Errorf("choose a port on %s: %w", ip, err)
	}
	var first error
	for port := c.Port; port <= c.Port+c.PortRange; port++ {
		_, err := tryPort(ip, port, c.Transports)
		if err == nil {
			return port, nil
		}
		if first == nil {
			first = err
		}
	}
	if c.PortRange > 0 {
		return 0, fmt.Errorf("%w: %d to %d on %s (%v): stop the programs that use them or set another port", ErrPortTaken, c.Port, c.Port+c.PortRange, ip, first)
	}
	return 0, fmt.Errorf("%w: %d on %s (%v): stop the program that uses it, set another port, or 0 for any free one", ErrPortTaken, c.Port, ip, first)
}

// tryPort opens and closes the port and returns its number.
func tryPort(ip netip.Addr, port int, t Transports) (int, error) {
	if t != QUICOnly {
		l, err := net.Listen("tcp4", net.JoinHostPort(ip.String(), strconv.Itoa(port)))
		if err != nil {
			return 0, err
		}
		defer l.Close()
		port = l.Addr().(*net.TCPAddr).Port
	}
	if t != TCPOnly {
		l, err := net.ListenPacket("udp4", net.JoinHostPort(ip.String(), strconv.Itoa(port)))
		if err != nil {
			return 0, err
		}
		defer l.Close()
		port = l.LocalAddr().(*net.UDPAddr).Port
	}
	return port, nil
}

// listenAddrs returns the IPv4 addresses, which must all work, and the IPv6 ones, which may be missing on a machine.
func listenAddrs(c Config, port int) (must, may []ma.Multiaddr) {
	add := func(to *[]ma.Multiaddr, ip string) {
		if c.Transports != TCPOnly {
			*to = append(*to, ma.StringCast(fmt.Sprintf("%s/udp/%d/quic-v1", ip, port)))
		}
		if c.Transports != QUICOnly {
			*to = append(*to, ma.StringCast(fmt.Sprintf("%s/tcp/%d", ip, port)))
		}
	}
	switch c.Listen {
	case ListenLoopback:
		add(&must, "/ip4/127.0.0.1")
	case ListenAll:
		add(&must, "/ip4/0.0.0.0")
		add(&may, "/ip6/::")
	}
	return must, may
}
