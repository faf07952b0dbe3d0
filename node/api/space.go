package api

import (
	"context"
	"net/http"
	"time"

	"kith/storage/quota"
)

// Space says what fills the disk and frees it.
type Space interface {
	// Space says what there is and what could go. It deletes nothing.
	Space(ctx context.Context) (SpaceReport, error)
	// FreeSpace deletes what Space said would go, of these kinds.
	FreeSpace(ctx context.Context, kinds []quota.Kind) (Freed, error)
	// Override switches the disk guard off for a while; 0: on again.
	Override(ctx context.Context, d time.Duration) error
}

// SpaceReport is what fills the disk of the data folder, in bytes.
type SpaceReport struct {
	Home        string      `json:"home"`
	Running     bool        `json:"running"` // told by a running node, which knows what no job needs
	DiskTotal   int64       `json:"diskTotal"`
	DiskFree    int64       `json:"diskFree"`
	UsedPercent int         `json:"usedPercent"` // of the disk, by everybody
	Alert       int         `json:"alert"`       // percent from which the node warns
	Stop        int         `json:"stop"`        // percent from which no new work is taken
	OffUntil    int64       `json:"offUntil,omitempty"`
	Used        int64       `json:"used"`  // by the data folder
	Quota       int64       `json:"quota"` // of the data folder
	Kinds       []KindSpace `json:"kinds"`
}

// KindSpace is one kind of data. Results lie among the blocks: they are counted there too.
type KindSpace struct {
	Kind   quota.Kind `json:"kind"`
	Bytes  int64      `json:"bytes"`
	Quota  int64      `json:"quota,omitempty"` // 0: no limit of its own
	Free   int64      `json:"free"`            // what freeing it would give back, about
	Things int        `json:"things"`          // blocks, jobs or files that would go
	Goes   string     `json:"goes"`            // what would go, in words
}

// Freed is what became free.
type Freed struct {
	Before int64       `json:"before"` // bytes of the data folder
	After  int64       `json:"after"`
	Kinds  []KindFreed `json:"kinds"`
}

// KindFreed is what became free of one kind. The store gives the space of deleted blocks back to the disk bit by bit.
type KindFreed struct {
	Kind   quota.Kind `json:"kind"`
	Bytes  int64      `json:"bytes"`
	Things int        `json:"things"`
}

// FreeKinds asks for the freeing of kinds.
type FreeKinds struct {
	Kinds []quota.Kind `json:"kinds"`
}

// GuardOff asks for the disk guard to be off for so many seconds; 0: on again.
type GuardOff struct {
	Seconds int64 `json:"seconds"`
}

func (s *Server) spaceRoutes(to map[string]http.HandlerFunc) {
	to["GET /api/v1/space"] = ask(s, func(p *Ports, r *http.Request) (any, error) { return p.Space.Space(r.Context()) })
	to["POST /api/v1/space/free"] = ask(s, func(p *Ports, r *http.Request) (any, error) {
		var f FreeKinds
		if err := decode(r, &f); err != nil {
			return nil, err
		}
		if len(f.Kinds) == 0 || len(f.Kinds) > len(quota.Kinds()) {
			return nil, Refuse(CodeBadRequest, "name kinds to free", "no kind is named")
		}
		return p.Space.FreeSpace(r.Context(), f.Kinds)
	})
	to["POST /api/v1/space/guard"] = ask(s, func(p *Ports, r *http.Request) (any, error) {
		var g GuardOff
		if err := decode(r, &g); err != nil {
			return nil, err
		}
		const most = 1 << 32
		if g.Seconds < 0 || g.Seconds > most {
			return nil, Refuse(CodeBadRequest, "name a time in seconds", "%d seconds are no time", g.Seconds)
		}
		return g, p.Space.Override(r.Context(), time.Duration(g.Seconds)*time.Second)
	})
}
