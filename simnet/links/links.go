// Package links holds what simulations take the world outside to be like: round-trip times between regions, which are
// measured, and how hosts of volunteers come and go, which is chosen. It is pure.
package links

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Round-trip times between data centres in milliseconds: averages of 28 September to 27 October 2024, published by IBM
// Cloud for its VPC regions (docs/vpc, "Network latency dashboards"). Both directions were measured; this is the larger.
// On the diagonal stands a pair of homes on one continent's access networks, without their last miles.
var (
	codes = [...]string{"US", "CA", "DE", "GB", "ES", "JP", "AU", "BR"}
	rtts  = [len(codes)][len(codes)]int16{
		// US   CA   DE   GB   ES   JP   AU   BR
		{4, 19, 92, 76, 90, 169, 214, 119},     // Washington DC
		{19, 4, 93, 84, 109, 167, 214, 131},    // Toronto
		{92, 93, 4, 13, 29, 231, 250, 198},     // Frankfurt
		{76, 84, 13, 4, 27, 243, 261, 188},     // London
		{90, 109, 29, 27, 4, 257, 275, 207},    // Madrid
		{169, 167, 231, 243, 257, 4, 115, 287}, // Tokyo
		{214, 214, 250, 261, 275, 115, 4, 328}, // Sydney
		{119, 131, 198, 188, 207, 287, 328, 4}, // São Paulo
	}
	continents = [len(codes)]int{0, 0, 1, 1, 1, 2, 3, 4}
	// offsets of the clocks on the walls from UTC, hours.
	offsets = [len(codes)]int{-5, -5, 1, 0, 1, 9, 10, -3}
)

// LastMile is the longest time a home's own line adds to a round trip; each home draws its own, evenly from 4 ms on.
const LastMile = 24 * time.Millisecond

// Regions lists the codes that latencies are known for.
func Regions() []string { return codes[:] }

// Known reports whether latencies of a region are known.
func Known(code string) bool { return slices.Contains(codes[:], code) }

// Index returns the number of a region, or -1.
func Index(code string) int { return slices.Index(codes[:], code) }

// RTT is the round-trip time between two regions by number, without last miles.
func RTT(a, b int) time.Duration { return time.Duration(rtts[a][b]) * time.Millisecond }

// Ring is how far region b is from a for an offer: 0 the same, 1 the same continent, 2 further.
func Ring(a, b int) int {
	switch {
	case a == b:
		return 0
	case continents[a] == continents[b]:
		return 1
	}
	return 2
}

// Availability of volunteers' hosts. These numbers are chosen, not measured: a host is on the network for two thirds of the
// time, and how long it stays follows a Weibull distribution whose shape lies well below 1, so that most hosts that are
// here stay and the others turn over fast. That availability is so uneven is what studies of volunteers' hosts report (for
// 230,000 hosts of SETI@home: Javadi, Kondo, Vincent and Anderson, "Discovering Statistical Models of Availability in
// Large Distributed Systems"); none of the numbers is taken from one.
const (
	Available    = 0.67
	SessionShape = 0.6
	SessionScale = 42 * 60 // seconds
)

// Session draws how long a host stays.
func Session(r *rand.Rand) time.Duration {
	return time.Duration(SessionScale * weibull(r, SessionShape) * float64(time.Second))
}

// Absence draws how long it is away afterwards, so that hosts are here for the share Available of the time.
func Absence(r *rand.Rand) time.Duration {
	return time.Duration(SessionScale * (1 - Available) / Available * weibull(r, SessionShape) * float64(time.Second))
}

// weibull draws from the Weibull distribution of scale 1.
func weibull(r *rand.Rand, shape float64) float64 {
	return math.Pow(-math.Log(1-r.Float64()), 1/shape)
}

// awake is the share of laptops that are open in each hour of the local day: chosen, not measured. It is a daily wave with
// its trough before dawn, and its mean is Available.
var awake = [24]float64{
	.48, .40, .28, .25, .24, .27, .38, .55, .72, .82, .86, .87, .86, .87, .88, .88, .87, .86, .86, .87, .86, .80, .76, .62,
}

// Awake is the share of laptops of a region that are open at a time, given since midnight UTC.
func Awake(region int, at time.Duration) float64 {
	h := (int(at/time.Hour) + offsets[region] + 48) % 24
	return awake[h]
}

// Continent is the number of the continent of a region.
func Continent(region int) int { return continents[region] }
