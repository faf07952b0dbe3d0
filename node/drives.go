package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"kith/bench"
	"kith/bench/disk"
	"kith/node/api"
	"kith/node/drives"
	"kith/node/lock"
	"kith/storage/governor"
)

// watchDrives shows the worst of the drives in use as lasting problems.
func (n *Node) watchDrives() {
	list, _ := n.drives.List()
	var failing, lowered []any
	for _, v := range list {
		switch {
		case len(v.InUse) == 0:
		case v.State.Grade == governor.Failing && failing == nil:
			failing = []any{v.Drive.Title(), v.State.Why[0]}
		case v.State.Level > 0 && lowered == nil:
			lowered = []any{v.Drive.Title(), v.State.Text}
		}
	}
	n.health.When(failing != nil, driveFailing, failing...)
	n.health.When(lowered != nil, driveLowered, lowered...)
}

// driveCaps are the limits that the kernel keeps tasks to: those of the drive that holds their folders, and in each direction
// no more than the owner gives for both.
func (n *Node) driveCaps(most int64) []governor.Cap {
	c, ok := n.drives.Cap(filepath.Join(n.o.Home, scratchDir))
	if !ok {
		return nil
	}
	c.ReadBytes, c.WriteBytes = lesser(c.ReadBytes, most), lesser(c.WriteBytes, most)
	return []governor.Cap{c}
}

// lesser is the smaller of two limits, of which 0 is none.
func lesser(a, b int64) int64 {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// driveOps serves api.Drives from a keeper, of a running node or of one that does not run.
type driveOps struct {
	keeper *drives.Keeper
	home   string
}

// Drives implements api.Drives.
func (o driveOps) Drives(context.Context) (api.DriveList, error) {
	list, blind := o.keeper.List()
	out := api.DriveList{Drives: []api.Drive{}, Blind: blind}
	for i := range list {
		out.Drives = append(out.Drives, driveOf(&list[i]))
	}
	return out, nil
}

func driveOf(v *drives.View) api.Drive {
	d := api.Drive{
		ID: v.Drive.ID, Name: v.Drive.Name, Title: v.Drive.Title(), Kind: string(v.Drive.Kind), Model: v.Drive.Model, Bus: v.Drive.Bus,
		Bytes: v.Drive.Bytes, Mount: v.Drive.Mount, FileSystem: v.Drive.FileSystem, ReadOnly: v.Drive.ReadOnly, Note: v.Drive.Note,
		Grade: v.State.Grade, Why: orEmpty(v.State.Why), Health: string(v.SMART.Verdict), HealthWhy: orEmpty(v.SMART.Why), Celsius: v.SMART.Celsius,
		Level: v.State.Level, Cause: v.State.Cause, Text: v.State.Text, Base: v.State.Base, Limits: v.Limits, Stats: v.Stats,
		Speed: v.Speed, Failed: v.Failed, InUse: v.InUse, Decisions: v.Decisions, Flagged: v.State.Flagged(),
	}
	if d.Health == "" {
		d.Health, d.HealthWhy = string(disk.Silent), []string{"it was not asked yet"}
	}
	if !v.State.Up.IsZero() {
		d.BackAt = v.State.Up.UnixMilli()
	}
	if v.Make != nil {
		d.Make = v.Make.Words + " (" + v.Make.Source + ")"
	}
	if d.Decisions == nil {
		d.Decisions = []governor.Decision{}
	}
	return d
}

func orEmpty(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// find returns a drive by ID, name or path.
func (o driveOps) find(text string) (*drives.View, error) {
	id, err := o.keeper.Find(text)
	if err != nil {
		return nil, api.Refuse(api.CodeNotFound, "kith drives lists them", "%v", err)
	}
	list, _ := o.keeper.List()
	for i := range list {
		if list[i].Drive.ID == id {
			return &list[i], nil
		}
	}
	return nil, api.Refuse(api.CodeNotFound, "name a folder on it, for example for kith soak", "the drive %.80q is not in use", text)
}

// MeasureDrive implements api.Drives.
func (o driveOps) MeasureDrive(ctx context.Context, text string) (api.Drive, error) {
	v, err := o.find(text)
	if err != nil {
		return api.Drive{}, err
	}
	if len(v.InUse) == 0 {
		return api.Drive{}, api.Refuse(api.CodeConflict, "plug it in and try again", "the drive %s is not in use now", v.Drive.Title())
	}
	at := v.InUse[0]
	if filepath.IsAbs(o.home) && strings.HasPrefix(at, o.home) {
		at = o.home
	}
	o.keeper.Measured(disk.Study(ctx, disk.Prober{}, at, bench.Quick, nil))
	if v, err = o.find(text); err != nil {
		return api.Drive{}, err
	}
	if v.Failed != "" {
		return api.Drive{}, api.Refuse(api.CodeConflict, "kith drives shows what is known", "the drive %s was not measured: %s", v.Drive.Title(), v.Failed)
	}
	return driveOf(v), nil
}

// ForgetDrive implements api.Drives.
func (o driveOps) ForgetDrive(_ context.Context, text string) (api.Drive, error) {
	return o.tell(text, governor.Owner, "the owner took the marks away")
}

func (o driveOps) tell(text string, cause governor.Cause, words string) (api.Drive, error) {
	v, err := o.find(text)
	if err == nil {
		if err = o.keeper.Tell(v.Drive.ID, cause, words); err == nil {
			v, err = o.find(v.Drive.ID)
		}
	}
	if err != nil {
		return api.Drive{}, err
	}
	return driveOf(v), nil
}

// SoakedDrive implements api.Drives.
func (o driveOps) SoakedDrive(_ context.Context, dir string) (api.Drive, error) {
	r, err := disk.LastSoak(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.Drive{}, api.Refuse(api.CodeNotFound, "kith soak runs one", "there was no soak test in %s", dir)
	case err != nil:
		return api.Drive{}, err
	case !r.Done:
		return api.Drive{}, api.Refuse(api.CodeConflict, "go on with it: kith soak", "the soak test in %s is not finished", dir)
	}
	o.keeper.Passing(dir) // so that it is known
	if r.Verdict == "sound" {
		return o.tell(r.Drive.ID, governor.SoakPassed, fmt.Sprintf("soak test of %v: sound", r.Worked.Round(time.Second)))
	}
	return o.tell(r.Drive.ID, governor.SoakFailed, fmt.Sprintf("soak test: %s: %s", r.Verdict, r.Why[0]))
}

// OfflineDrives opens the drives of a data folder in which no node runs. Call close when done.
func OfflineDrives(home string, log *slog.Logger) (d api.Drives, close func() error, err error) {
	if err := makeHome(home); err != nil {
		return nil, nil, err
	}
	held, err := lock.Take(home)
	if err != nil {
		return nil, nil, err
	}
	k, err := drives.Open(home, drives.Options{Logger: log})
	if err != nil {
		return nil, nil, errors.Join(err, held.Close())
	}
	return driveOps{k, home}, func() error { return errors.Join(k.Close(), held.Close()) }, nil
}
