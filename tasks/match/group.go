package match

import (
	"net/netip"
	"strconv"

	"kith/tasks"
)

// Profile says what kind of network the nodes of a network live in.
type Profile string

// The profiles.
const (
	LAN Profile = "lan" // one owner's machines: private and loopback addresses say nothing about independence
	WAN Profile = "wan" // strangers: whoever shares an address range is not independent
)

// Group is the network origin of a node for diversity: the /24 or /48 of the address a direct connection comes from, or
// the relay through which alone the node is seen. Under profile LAN private, link-local and loopback addresses have
// none. via is the text of the relay's id and is only read for a relayed node.
func Group(p Profile, remote netip.Addr, relayed bool, via string) string {
	if relayed {
		return "relay:" + via
	}
	remote = remote.Unmap().WithZone("")
	if p == LAN && (remote.IsPrivate() || remote.IsLoopback() || remote.IsLinkLocalUnicast()) {
		return ""
	}
	if !remote.IsValid() {
		return "unknown"
	}
	length := 48
	if remote.Is4() {
		length = 24
	}
	return netip.PrefixFrom(remote, length).Masked().String()
}

// Provider names an autonomous system as the network origin of the nodes in it.
func Provider(as uint) string { return "AS" + strconv.FormatUint(uint64(as), 10) }

// Account is who a node belongs to: the subject of a hub's credential, or else the node with its group.
func Account(subject string, id tasks.NodeID, group string) string {
	if subject != "" {
		return "hub:" + subject
	}
	return id.String() + "@" + group
}
