package geo

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCells(t *testing.T) {
	berlin, potsdam, tokyo := CellAt(52.52, 13.40), CellAt(52.40, 13.05), CellAt(35.68, 139.69)
	if berlin == "" || berlin == tokyo {
		t.Fatalf("cells %q %q", berlin, tokyo)
	}
	if km, ok := KM(berlin, tokyo); !ok || km < 8700 || km > 9150 {
		t.Errorf("Berlin to Tokyo: %.0f km, want about 8920", km)
	}
	if km, ok := KM(berlin, potsdam); !ok || km > 160 {
		t.Errorf("Berlin to Potsdam: %.0f km", km)
	}
	if rtt := MinRTT(berlin, tokyo); rtt < 80*time.Millisecond || rtt > 90*time.Millisecond {
		t.Errorf("Berlin to Tokyo takes at least %s", rtt)
	}
	if MinRTT(berlin, potsdam) != 0 || MinRTT(berlin, "") != 0 {
		t.Error("a bound where none is known")
	}
	for _, bad := range []struct{ lat, lon float64 }{{91, 0}, {0, 181}, {math.NaN(), 0}, {0, math.Inf(1)}} {
		if c := CellAt(bad.lat, bad.lon); c != "" {
			t.Errorf("%v has cell %q", bad, c)
		}
	}
}

func TestPlausible(t *testing.T) {
	at := func(region Region, lat, lon float64) Place { return Place{Region: region, Cell: CellAt(lat, lon)} }
	berlin, tokyo := at("DE", 52.52, 13.40), at("JP", 35.68, 139.69)
	for _, c := range []struct {
		name string
		a, b Place
		rtt  time.Duration
		want bool
	}{
		{"near", berlin, berlin, 30 * time.Millisecond, true},
		{"far, and as far as it is", berlin, tokyo, 250 * time.Millisecond, true},
		{"sooner than light", berlin, tokyo, 40 * time.Millisecond, false},
		{"near, and as slow as from the other side of the world", berlin, berlin, 300 * time.Millisecond, false},
		{"not measured", berlin, berlin, 0, false},
		{"in no list", berlin, Place{Region: Unknown}, 30 * time.Millisecond, false},
		{"nowhere", berlin, Place{}, 30 * time.Millisecond, false},
		{"a country alone", berlin, Place{Region: "JP"}, 30 * time.Millisecond, true},
	} {
		if got := Plausible(c.a, c.b, c.rtt); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Every cell holds its own centre and is about 100 km wide and high.
func TestCellsCoverTheGlobe(t *testing.T) {
	n := 0
	for row := range rows {
		for col := range columns(row) {
			lat := (float64(row)+0.5)*rowDegrees - 90
			lon := (float64(col)+0.5)/float64(columns(row))*360 - 180
			c := CellAt(lat, lon)
			lat2, lon2, ok := c.Centre()
			if !ok || math.Abs(lat-lat2) > 1e-9 || math.Abs(lon-lon2) > 1e-9 {
				t.Fatalf("%s: %f %f, want %f %f", c, lat2, lon2, lat, lon)
			}
			n++
		}
	}
	if n < 45_000 || n > 60_000 {
		t.Errorf("%d cells", n)
	}
	for _, corner := range []struct{ lat, lon float64 }{{90, 180}, {-90, -180}, {90, -180}, {-90, 180}} {
		if _, _, ok := CellAt(corner.lat, corner.lon).Centre(); !ok {
			t.Errorf("no cell at %v", corner)
		}
	}
	for _, bad := range []Cell{"", "r200c000", "r000c999", "r1c2", "x000c000", "r-01c000", "r00000001"} {
		if _, _, ok := bad.Centre(); ok {
			t.Errorf("%q is a cell", bad)
		}
	}
}

func TestRings(t *testing.T) {
	for r, want := range map[Region][]Region{
		"DE": {"DE", "europe", World}, "US": {"US", "north-america", World}, Unknown: {Unknown, World}, World: {World},
		"europe": {"europe", World},
	} {
		if got := Rings(r); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", r, got, want)
		}
	}
	for _, c := range []struct {
		r, area Region
		want    bool
	}{
		{"DE", "DE", true},
		{"DE", "europe", true},
		{"DE", World, true},
		{"DE", "FR", false},
		{"DE", "asia", false},
		{Unknown, World, true},
		{Unknown, "europe", false},
		{Unknown, "", false},
	} {
		if got := c.r.Within(c.area); got != c.want {
			t.Errorf("%s within %s: %t", c.r, c.area, got)
		}
	}
}

func TestCountries(t *testing.T) {
	if n := len(continentOf); n != 250 {
		t.Errorf("%d countries, want 249 of ISO 3166-1 and XK", n)
	}
	sum := 0
	for _, list := range continents {
		sum += (len(list) + 1) / 3
	}
	if sum != len(continentOf) {
		t.Errorf("%d entries for %d countries: one stands twice", sum, len(continentOf))
	}
}

func TestParsePlace(t *testing.T) {
	for _, s := range []string{"DE", "ZZ", "DE/" + string(CellAt(52, 13))} {
		p, err := ParsePlace(s)
		if err != nil || p.String() != s {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "de", "DEU", "QQ", "europe", "DE/", "DE/x", "DE/r999c999", "/r000c000"} {
		if p, err := ParsePlace(s); !errors.Is(err, ErrPlace) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("DE/r158c214")
	f.Add("ZZ")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err == nil && p.String() != s {
			t.Errorf("%q reads as %q", s, p)
		}
	})
}

func TestDatabase(t *testing.T) {
	lat, lon := 52.52, 13.40
	dir := t.TempDir()
	city, country := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "country.mmdb")
	berlin := []any{"country", []any{"iso_code", "DE"}, "location", []any{"latitude", lat, "longitude", lon}}
	odd := []any{"country", []any{"iso_code", "??"}}
	writeMMDB(t, city, "GeoLite2-City", map[string][]any{"192.0.2.0/24": berlin, "198.51.100.0/25": odd})
	writeMMDB(t, country, "GeoLite2-Country", map[string][]any{"192.0.2.0/24": berlin[:2], "198.51.100.0/25": odd})
	for path, cell := range map[string]Cell{city: CellAt(lat, lon), country: ""} {
		db, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for ip, want := range map[string]Place{
			"192.0.2.77": {Region: "DE", Cell: cell}, "::ffff:192.0.2.1": {Region: "DE", Cell: cell},
			"198.51.100.1": {Region: Unknown}, "198.51.100.200": {Region: Unknown}, "10.0.0.1": {Region: Unknown},
			"2001:db8::1": {Region: Unknown},
		} {
			if got, err := db.Locate(netip.MustParseAddr(ip)); err != nil || got != want {
				t.Errorf("%s: %s is in %v, %v; want %v", filepath.Base(path), ip, got, err, want)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestProviders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	as := func(n uint32) []any { return []any{"autonomous_system_number", n} }
	writeMMDB(t, path, "GeoLite2-ASN", map[string][]any{"192.0.2.0/24": as(64500), "198.51.100.0/25": as(4200000000)})
	p, err := OpenProviders(path)
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]uint{
		"192.0.2.77": 64500, "::ffff:192.0.2.1": 64500, "198.51.100.1": 4200000000, "198.51.100.200": 0, "10.0.0.1": 0, "2001:db8::1": 0,
	} {
		if got := p.Of(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s belongs to AS%d, want AS%d", ip, got, want)
		}
	}
	if got := p.Of(netip.Addr{}); got != 0 {
		t.Errorf("no address belongs to AS%d", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	city, garbage := filepath.Join(t.TempDir(), "city.mmdb"), filepath.Join(t.TempDir(), "garbage")
	writeMMDB(t, city, "GeoLite2-City", nil)
	if err := os.WriteFile(garbage, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{city, garbage, filepath.Join(t.TempDir(), "missing")} {
		if _, err := OpenProviders(path); !errors.Is(err, ErrProviders) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBadDatabase(t *testing.T) {
	dir := t.TempDir()
	asn, garbage := filepath.Join(dir, "asn.mmdb"), filepath.Join(dir, "garbage")
	writeMMDB(t, asn, "GeoLite2-ASN", nil)
	if err := os.WriteFile(garbage, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{asn, garbage, filepath.Join(dir, "missing")} {
		if db, err := Open(path); !errors.Is(err, ErrDatabase) {
			t.Errorf("%s: %v", path, err)
			if err == nil {
				db.Close()
			}
		}
	}
}

func TestCountriesOfAnArea(t *testing.T) {
	for area, want := range map[string]int{"DE": 1, "de": 1, "europe": 52, "Europe": 52, "antarctica": 4} {
		got, err := Countries(area)
		if err != nil || len(got) != want {
			t.Errorf("Countries(%q) = %d countries and %v, want %d", area, len(got), err, want)
		}
		for _, c := range got {
			if c.Continent() == "" {
				t.Errorf("Countries(%q) holds %q, which is no country", area, c)
			}
		}
	}
	for _, area := range []string{"", "ZZ", "XX", "D", "DEU", "world", "europe "} {
		if got, err := Countries(area); !errors.Is(err, ErrPlace) {
			t.Errorf("Countries(%q) = %v and %v, want ErrPlace", area, got, err)
		}
	}
}
