package match

// Stay is how a node comes and goes, by its own word. Zero fields are not known.
type Stay struct {
	Share  int   // of the last days in which it could compute, per mille
	Millis int64 // how long it usually stays before it cannot for a while
}

const (
	// leastShare bounds how much longer a lease may live because its node is seldom there: four times.
	leastShare = 250
	// usualShare is what a node that says nothing is taken for.
	usualShare = 1000
)

// Life returns how long a lease should live that lives so many milliseconds at a node that is always there. A node that
// computes for a share a of the time needs 1/a of the time for the same work, which is also how BOINC allows for it when it
// foresees completion times (D. P. Anderson, G. Fedak, "The Computational and Storage Potential of Volunteer Computing",
// CCGrid 2006: on-fraction and active-fraction). What the submitter saw itself rules what a node says: kept is the share of
// its leases that it kept, per mille, and only that share of the extra time is given, so that a claim to be seldom there
// buys nothing to one that lets its leases lapse:
//
//	life · (1 + (1/a − 1) · kept), a at least 1/4
func (s Stay) Life(millis int64, kept int) int64 {
	share := int64(s.Share)
	if share <= 0 {
		share = usualShare
	}
	share = min(max(share, leastShare), usualShare)
	extra := millis * (usualShare - share) / share
	return millis + extra*int64(min(max(kept, 0), 1000))/1000
}

// Leaves reports whether a task that usually takes so many milliseconds takes longer than this node usually stays, which is
// at a pace in per mille of what is usual; 0: not known. Who was just met stays longer than the usual rather than shorter:
// volunteers' sessions have a falling hazard (B. Javadi, D. Kondo, J.-M. Vincent, D. P. Anderson, "Discovering Statistical
// Models of Availability in Large Distributed Systems", TPDS 22(11), 2011), so what is over of a session says nothing
// against its node.
func (s Stay) Leaves(takes int64, pace int) bool {
	if pace <= 0 {
		pace = 1000
	}
	return s.Millis > 0 && takes*int64(pace)/1000 > s.Millis
}
