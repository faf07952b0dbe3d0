package geo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/geoip2-golang/v2"
)

// Providers is a local database of which provider (autonomous system) routes an address. Its methods are safe for
// concurrent use.
type Providers struct{ r *geoip2.Reader }

// OpenProviders opens an mmdb file with autonomous systems (GeoLite2-ASN and the like).
func OpenProviders(path string) (*Providers, error) {
	r, err := geoip2.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProviders, path, err)
	}
	if _, err := r.ASN(netip.IPv6LinkLocalAllNodes()); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrProviders, path, err), r.Close())
	}
	return &Providers{r}, nil
}

// Of returns the number of the autonomous system of an address, 0 for one that the database does not know and for private
// ones.
func (p *Providers) Of(ip netip.Addr) uint {
	as, err := p.r.ASN(ip.Unmap().WithZone(""))
	if err != nil {
		return 0
	}
	return as.AutonomousSystemNumber
}

// Close closes the file.
func (p *Providers) Close() error { return p.r.Close() }
