package match

import "time"

// Answering an offer, and widening it.
const (
	Surplus      = 3 // nodes that answer an offer, for each session wanted
	DialsPerWant = 4 // dials a submitter accepts in one ring, for each session wanted

	MaxDelay    = 1500 * time.Millisecond // before answering
	DelayLoad   = 100 * time.Millisecond  // added at full load
	DelayJitter = 20 * time.Millisecond   // added at random

	FirstRing  = 3 * time.Second  // until the offer goes to the next ring: MaxDelay, and a dial through a relay
	LongestGap = 60 * time.Second // between two offers
	LastRing   = 8                // the widest ring; it is repeated
	Rings      = 2                // rings that may be empty and passed over at once: the country's, the continent's
)

// AnswerProbability is the chance with which each of audience nodes answers an offer that wants so many sessions, so
// that about Surplus·want do: min(1, 3·want/audience). An unknown audience (≤ 0) answers for sure.
func AnswerProbability(want, audience int) float64 {
	if audience <= 0 || want <= 0 {
		return min(1, float64(max(want, 0)))
	}
	return min(1, Surplus*float64(want)/float64(audience))
}

// Answers decides by a random number in [0,1) whether this node answers.
func Answers(want, audience int, random float64) bool {
	return random < AnswerProbability(want, audience)
}

// AnswerDelay is how long a node waits before it answers an offer, so that near and idle ones come first:
// min(1.5 s, RTT + 100 ms·load + jitter), and nothing with an open session. load is per mille, random in [0,1).
func AnswerDelay(rtt time.Duration, load int, random float64, open bool) time.Duration {
	if open {
		return 0
	}
	d := max(rtt, 0) + DelayLoad*time.Duration(min(max(load, 0), 1000))/1000 + time.Duration(random*float64(DelayJitter))
	return min(MaxDelay, d)
}

// Ring is the ring an offer is in after it has gone without enough answers for so long, and how long after its first
// sending the next one is due. The gap doubles from FirstRing to LongestGap.
func Ring(elapsed time.Duration) (ring int, next time.Duration) {
	gap := FirstRing
	for next = gap; next <= elapsed; next += gap {
		if gap == LongestGap { // far out: no need to walk
			steps := (elapsed-next)/gap + 1
			next += steps * gap
			ring += int(min(steps, LastRing))
			break
		}
		ring++
		gap = min(2*gap, LongestGap)
	}
	return min(ring, LastRing), next
}
