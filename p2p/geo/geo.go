// Package geo says roughly where a node is: a country and a grid cell of about 100 km, from a local database file or
// from the owner's word, and which wider regions surround it. It knows no peer and asks no service.
package geo

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/oschwald/geoip2-golang/v2"
)

// Region is an ISO 3166-1 country code in capitals ("DE"), a continent ("europe") or World. The zero Region is not
// valid; Unknown is.
type Region string

// Regions that are no country.
const (
	Unknown Region = "ZZ"    // the country is not known
	World   Region = "world" // everywhere
)

// Cell is a square of the globe of about 100 km ("n052e013" is not one: cells are counted, "r158c214"). The zero Cell is
// unknown.
type Cell string

// Place is where a node is, as coarsely as Kith ever says it.
type Place struct {
	Region Region `json:"region"`
	Cell   Cell   `json:"cell,omitempty"`
}

// Errors of this package.
var (
	// ErrDatabase: the file is no database of countries or cities.
	ErrDatabase = errors.New("not a database of countries or cities")
	// ErrProviders: the file is no database of providers.
	ErrProviders = errors.New("not a database of autonomous systems")
	// ErrPlace: the text is neither a country code nor a cell.
	ErrPlace = errors.New(`not a place: want a country code such as "DE", with or without a cell such as "DE/r158c214"`)
)

const (
	rowDegrees   = 0.9 // of latitude: 100 km
	rows         = 200
	equatorCells = 400 // 360 degrees of longitude on the equator, 100 km each
	earthKM      = 6371.0
	// fibreKMPerMilli is how far light in glass gets in a millisecond; nothing on the internet is faster.
	fibreKMPerMilli = 204.0
)

// columns is the number of cells of a row, so that each is about 100 km wide.
func columns(row int) int {
	mid := (float64(row)+0.5)*rowDegrees - 90
	return max(1, int(math.Round(equatorCells*math.Cos(mid*math.Pi/180))))
}

// CellAt returns the cell of a point given in degrees, north and east positive. Points outside the globe have none.
func CellAt(lat, lon float64) Cell {
	if !(lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180) { // also false for NaN
		return ""
	}
	row := min(int((lat+90)/rowDegrees), rows-1)
	n := columns(row)
	col := min(int((lon+180)/360*float64(n)), n-1)
	return Cell(fmt.Sprintf("r%03dc%03d", row, col))
}

// Centre returns the middle of the cell in degrees, or false when c is no cell.
func (c Cell) Centre() (lat, lon float64, ok bool) {
	if len(c) != 8 {
		return 0, 0, false
	}
	var row, col int
	if n, err := fmt.Sscanf(string(c), "r%03dc%03d", &row, &col); err != nil || n != 2 || row < 0 || row >= rows || col < 0 || col >= columns(row) {
		return 0, 0, false
	}
	if c != Cell(fmt.Sprintf("r%03dc%03d", row, col)) {
		return 0, 0, false
	}
	return (float64(row)+0.5)*rowDegrees - 90, (float64(col)+0.5)/float64(columns(row))*360 - 180, true
}

// KM is the distance between the centres of two cells along the ground, or false when one is unknown.
func KM(a, b Cell) (float64, bool) {
	lat1, lon1, ok1 := a.Centre()
	lat2, lon2, ok2 := b.Centre()
	if !ok1 || !ok2 {
		return 0, false
	}
	const rad = math.Pi / 180
	s1, s2 := math.Sin((lat2-lat1)*rad/2), math.Sin((lon2-lon1)*rad/2)
	h := s1*s1 + math.Cos(lat1*rad)*math.Cos(lat2*rad)*s2*s2
	return 2 * earthKM * math.Asin(math.Sqrt(min(1, h))), true
}

// MinRTT is the shortest round trip that physics allows between two cells, two cell widths allowed for the vagueness
// of cells: a peer that answers sooner is not where it says. 0 when one is unknown.
func MinRTT(a, b Cell) time.Duration {
	km, ok := KM(a, b)
	if !ok {
		return 0
	}
	return time.Duration(2 * max(0, km-200) / fibreKMPerMilli * float64(time.Millisecond))
}

// Plausible reports whether a round trip of rtt fits two places so far apart: not shorter than physics allows, and not so
// long that the peer must be somewhere else, behind the address that is seen. Home lines add up to homeRTT, cables
// take up to detour times the straight way. Nothing fits an unknown place, and a trip that was not measured fits none.
func Plausible(a, b Place, rtt time.Duration) bool {
	if rtt <= 0 || b.Region == Unknown || b.Region == "" {
		return false
	}
	if _, ok := KM(a.Cell, b.Cell); !ok {
		return true // countries alone say nothing about distance
	}
	least := MinRTT(a.Cell, b.Cell)
	return rtt >= least && rtt <= detour*least+homeRTT
}

// The slack of Plausible.
const (
	detour  = 3
	homeRTT = 200 * time.Millisecond
)

var countryCode = regexp.MustCompile(`^[A-Z]{2}$`)

// ParsePlace reads the owner's word: "DE", or "DE/r158c214". An unknown country code is refused, "ZZ" is not.
func ParsePlace(s string) (Place, error) {
	country, cell, found := strings.Cut(s, "/")
	p := Place{Region: Region(country), Cell: Cell(cell)}
	if !countryCode.MatchString(country) || (p.Region != Unknown && p.Region.Continent() == "") {
		return Place{}, fmt.Errorf("%w: %.40q", ErrPlace, s)
	}
	if _, _, ok := p.Cell.Centre(); found && !ok {
		return Place{}, fmt.Errorf("%w: %.40q", ErrPlace, s)
	}
	return p, nil
}

// String is what ParsePlace reads.
func (p Place) String() string {
	if p.Cell == "" {
		return string(p.Region)
	}
	return string(p.Region) + "/" + string(p.Cell)
}

// Rings returns the regions around a country, nearest first: itself, its continent, the world. For Unknown and for what
// is no country, only itself and the world.
func Rings(r Region) []Region {
	if r == World {
		return []Region{World}
	}
	if c := r.Continent(); c != "" && c != r {
		return []Region{r, c, World}
	}
	return []Region{r, World}
}

// Within reports whether r lies in area: the same country, a country of the continent, anything in the World. Unknown
// lies only in itself and the World.
func (r Region) Within(area Region) bool {
	return r == area || area == World || (area != "" && r.Continent() == area)
}

// DB is a local database of where addresses are. Its methods are safe for concurrent use.
type DB struct{ r *geoip2.Reader }

// Open opens an mmdb file with countries or cities (GeoLite2-City, GeoLite2-Country and the like).
func Open(path string) (*DB, error) {
	r, err := geoip2.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDatabase, path, err)
	}
	db := &DB{r}
	if _, err := db.Locate(netip.IPv6LinkLocalAllNodes()); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrDatabase, path, err), r.Close())
	}
	return db, nil
}

// Locate returns the place of an address; Unknown, without error, for one that the database does not know and for
// private ones.
func (d *DB) Locate(ip netip.Addr) (Place, error) {
	city, err := d.r.City(ip.Unmap()) // also reads a database of countries alone
	if err != nil {
		return Place{Region: Unknown}, fmt.Errorf("look up an address: %w", err)
	}
	p := Place{Region: known(city.Country.ISOCode)}
	if l := city.Location; l.Latitude != nil && l.Longitude != nil {
		p.Cell = CellAt(*l.Latitude, *l.Longitude)
	}
	return p, nil
}

// known keeps what a database says within the codes that Kith uses.
func known(code string) Region {
	if r := Region(code); r.Continent() != "" {
		return r
	}
	return Unknown
}

// Close closes the file.
func (d *DB) Close() error { return d.r.Close() }
