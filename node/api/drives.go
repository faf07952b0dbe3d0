package api

import (
	"context"
	"net/http"
	"path/filepath"

	"kith/bench/disk"
	"kith/storage/governor"
)

// Drives shows the drives of the node and takes in what was found out about them. A drive is named by its ID or the
// beginning of one, its name, or a path on it.
type Drives interface {
	Drives(ctx context.Context) (DriveList, error)
	// MeasureDrive measures a drive in use now; it takes some seconds.
	MeasureDrive(ctx context.Context, drive string) (Drive, error)
	// ForgetDrive takes the marks away that trouble has left.
	ForgetDrive(ctx context.Context, drive string) (Drive, error)
	// SoakedDrive takes in the verdict of the last soak test in a folder.
	SoakedDrive(ctx context.Context, dir string) (Drive, error)
}

// DriveList is every drive the node knows, those in use first.
type DriveList struct {
	Drives []Drive `json:"drives"`
	Blind  string  `json:"blind,omitempty"` // why the kernel's log is not heard
}

// Drive is one drive: what it is, how hard it may be used, and why. Spans of time within are in nanoseconds.
type Drive struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Title      string              `json:"title"`
	Kind       string              `json:"kind"`
	Model      string              `json:"model,omitempty"`
	Bus        string              `json:"bus,omitempty"`
	Bytes      int64               `json:"bytes"`
	Mount      string              `json:"mount,omitempty"`
	FileSystem string              `json:"fileSystem,omitempty"`
	ReadOnly   bool                `json:"readOnly"`
	Note       string              `json:"note,omitempty"`
	Grade      governor.Grade      `json:"grade"`
	Why        []string            `json:"why"`    // of the grade
	Health     string              `json:"health"` // "ok", "warning", "failing", "unknown"
	HealthWhy  []string            `json:"healthWhy"`
	Celsius    int                 `json:"celsius,omitempty"`
	Make       string              `json:"make,omitempty"` // what its make is known for, and who says so
	Flagged    bool                `json:"flagged"`        // people should look at it
	Level      int                 `json:"level"`          // how often its limits are halved now
	Cause      governor.Cause      `json:"cause,omitempty"`
	Text       string              `json:"text,omitempty"`   // why they are
	BackAt     int64               `json:"backAt,omitempty"` // when the next halving is taken back, if nothing happens; Unix milliseconds
	Base       governor.Limits     `json:"base"`             // by its grade
	Limits     governor.Limits     `json:"limits"`           // now
	Stats      governor.Stats      `json:"stats"`            // since the start
	Speed      *disk.Result        `json:"speed,omitempty"`
	Failed     string              `json:"failed,omitempty"` // why it was not measured
	InUse      []string            `json:"inUse"`            // folders
	Decisions  []governor.Decision `json:"decisions"`        // newest last
}

// DriveDir names the folder of a soak test.
type DriveDir struct {
	Dir string `json:"dir"`
}

func (s *Server) driveRoutes(to map[string]http.HandlerFunc) {
	to["GET /api/v1/drives"] = ask(s, func(p *Ports, r *http.Request) (any, error) { return p.Drives.Drives(r.Context()) })
	to["POST /api/v1/drives/{id}/measure"] = ask(s, func(p *Ports, r *http.Request) (any, error) {
		return p.Drives.MeasureDrive(r.Context(), r.PathValue("id"))
	})
	to["POST /api/v1/drives/{id}/forget"] = ask(s, func(p *Ports, r *http.Request) (any, error) {
		return p.Drives.ForgetDrive(r.Context(), r.PathValue("id"))
	})
	to["POST /api/v1/drives/soaked"] = ask(s, func(p *Ports, r *http.Request) (any, error) {
		var d DriveDir
		if err := decode(r, &d); err != nil {
			return nil, err
		}
		if !filepath.IsAbs(d.Dir) {
			return nil, Refuse(CodeBadRequest, "name the folder from the root of the file system", "the folder %.200q is not an absolute path", d.Dir)
		}
		return p.Drives.SoakedDrive(r.Context(), filepath.Clean(d.Dir))
	})
}
