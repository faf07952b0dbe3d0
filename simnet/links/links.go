// Package links holds what simulations take the world outside to be like: round-trip times between regions, and how hosts
// of volunteers come and go. Both are as published measurements have them; where a number had to be chosen, its comment
// says so. It is pure.
package links

import (
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

// Continent is the number of the continent of a region.
func Continent(region int) int { return continents[region] }
