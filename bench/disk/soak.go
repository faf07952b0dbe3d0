package disk

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kith/storage"
	"kith/storage/governor"
)

// A soak test works a drive gently for a long time: reads, writes and syncs mixed, every page verified, in files of its
// own. It goes on where it stopped, whatever stopped it.

// SoakDir is the folder of a soak test below the folder it is given.
const SoakDir = ".kith-soak"

// SoakOptions of a test. Dir is required.
type SoakOptions struct {
	Dir     string
	Minutes float64          // of working time, all runs of it together; default 30
	Size    int64            // of its file; default 256 MiB, less for a short test, and a twentieth of what is free at most
	Limits  governor.Limits  // of the drive; a quarter of them is used. Zero: those of a drive nobody has graded
	Fresh   bool             // begin anew though a test was begun
	Hard    bool             // without the ceilings in bytes a second that spare the drive; for tests
	Health  func() SMART     // asked every few minutes; nil: nobody
	Tell    func(SoakReport) // called about once a second; may be nil
	// Open opens the test's file and keeps what is in it; for tests. Space tells the bytes free.
	Open  func(path string, size int64) (File, bool, error)
	Space func(dir string) (free int64, err error)
}

// SoakReport is how a soak test stands, or how it ended.
type SoakReport struct {
	Drive    Drive           `json:"drive"`
	Dir      string          `json:"dir"`
	Began    time.Time       `json:"began"`
	Worked   time.Duration   `json:"worked"` // all runs together, in nanoseconds
	Wanted   time.Duration   `json:"wanted"`
	Runs     int             `json:"runs"`
	Done     bool            `json:"done"`
	Verdict  string          `json:"verdict"` // "sound", "suspect", "failed"; "" before the end
	Why      []string        `json:"why"`
	Reads    int64           `json:"reads"`
	Writes   int64           `json:"writes"`
	Syncs    int64           `json:"syncs"`
	Verified int64           `json:"verified"` // bytes
	Written  int64           `json:"written"`  // bytes
	Errors   []string        `json:"errors"`   // at most a few
	Failed   int64           `json:"failed"`   // requests
	Stalls   int64           `json:"stalls"`   // requests that took over a second
	Slowest  time.Duration   `json:"slowest"`
	Early    float64         `json:"early"` // milliseconds of a request, the median of the first tenth
	Late     float64         `json:"late"`  // of the last tenth
	SMART    SMART           `json:"smart,omitzero"`
	Grade    governor.Grade  `json:"grade,omitempty"`
	Limits   governor.Limits `json:"limits,omitzero"` // from now on
}

// Left is how much working time is left.
func (r SoakReport) Left() time.Duration { return max(r.Wanted-r.Worked, 0) }

// soakState is what is kept beside the file: the report, and what the pages should hold.
type soakState struct {
	Version int        `json:"version"`
	Seed    uint64     `json:"seed"`
	Size    int64      `json:"size"`
	Report  SoakReport `json:"report"`
	Medians []float64  `json:"medians"` // of a request in milliseconds, one for each stretch
	Sum     uint32     `json:"sum"`     // CRC-32C of the file of generations
}

const (
	soakVersion  = 1
	soakUsual    = 256 << 20
	soakKeep     = 10 * time.Second // between two notes of the state
	soakHealth   = 5 * time.Minute
	soakShare    = 4        // of the drive's limits: one of so many
	soakReads    = 32 << 20 // bytes a second at most, whatever the drive could
	soakWrites   = 4 << 20  // as much: half an hour writes 7 GB, which no drive minds
	maxSoakErrs  = 20
	soakStall    = time.Second
	soakSlowdown = 3.0 // times as slow at the end as at the beginning is throttling
	soakStretch  = 64  // requests of one median
	maxMedians   = 20_000
)

// gentle is a ceiling in bytes a second.
func (o SoakOptions) gentle(most int64) int64 {
	if o.Hard {
		return math.MaxInt64
	}
	return most
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// soak is one run of a test.
type soak struct {
	o      SoakOptions
	dir    string
	state  soakState
	pages  *pages
	file   File
	device *governor.Device
	began  time.Time
	before time.Duration // worked by the runs before
	told   time.Time
	kept   time.Time
	asked  time.Time
	took   []float64
	first  SMART
}

// Soak runs a test, or goes on with one, until it has worked long enough, ctx ends or the drive fails too often. The
// report is good after an error too. A test that ctx ended goes on with the next call.
func Soak(ctx context.Context, o SoakOptions) (SoakReport, error) {
	s, err := beginSoak(o)
	if err != nil {
		return SoakReport{Dir: o.Dir}, err
	}
	defer s.file.Close()
	err = s.run(ctx)
	s.state.Report.Worked = s.worked()
	if ctx.Err() == nil && err == nil || errors.Is(err, ErrWrong) {
		s.judge()
		err = nil
	}
	if keep := s.keep(); err == nil {
		err = keep
	}
	if s.state.Report.Done {
		_ = os.Remove(filepath.Join(s.dir, "data")) // the report stays
		_ = os.Remove(filepath.Join(s.dir, "pages"))
	}
	return s.state.Report, err
}

// LastSoak reads the report of the last test in a folder.
func LastSoak(dir string) (SoakReport, error) {
	st, err := readSoak(filepath.Join(dir, SoakDir))
	return st.Report, err
}

func readSoak(dir string) (soakState, error) {
	var st soakState
	data, err := os.ReadFile(filepath.Join(dir, "soak.json"))
	if err != nil {
		return st, err
	}
	return parseSoak(data)
}

func parseSoak(data []byte) (soakState, error) {
	var st soakState
	if err := json.Unmarshal(data, &st); err != nil {
		return soakState{}, fmt.Errorf("the state of the soak test is damaged: %w", err)
	}
	if st.Version != soakVersion || st.Size < chunk || st.Size > 1<<40 || st.Size%chunk != 0 || st.Report.Worked < 0 || st.Report.Wanted < 0 || len(st.Medians) > 2*maxMedians {
		return soakState{}, errors.New("the state of the soak test is damaged: values that cannot be")
	}
	return st, nil
}

// beginSoak opens the test's files, new or old.
func beginSoak(o SoakOptions) (*soak, error) {
	if o.Minutes <= 0 {
		o.Minutes = 30
	}
	if o.Open == nil {
		o.Open = openSoak
	}
	if o.Space == nil {
		o.Space = freeSpace
	}
	if o.Limits == (governor.Limits{}) {
		o.Limits = governor.For(governor.Ungraded, governor.Drive{})
	}
	if info, err := os.Stat(o.Dir); err != nil {
		return nil, fmt.Errorf("soak test: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("soak test: %s is no folder; name one on the drive", o.Dir)
	}
	dir := filepath.Join(o.Dir, SoakDir)
	s := &soak{o: o, dir: dir, began: time.Now()}
	st, err := readSoak(dir)
	fresh := o.Fresh || err != nil || st.Report.Done
	if fresh {
		if st, err = newSoak(o); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("soak test: %w", err)
		}
		for _, name := range []string{"data", "pages", "soak.json"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("soak test: %w", err)
			}
		}
	}
	st.Report.Wanted = time.Duration(o.Minutes * float64(time.Minute))
	st.Report.Runs++
	s.state, s.before = st, st.Report.Worked
	s.pages = newPages(int(st.Size/page), st.Seed)
	if !fresh {
		s.recall()
	}
	if s.file, _, err = o.Open(filepath.Join(dir, "data"), st.Size); err != nil {
		return nil, fmt.Errorf("soak test: %w", err)
	}
	l := o.Limits
	l.ReadBytes = max(min(l.ReadBytes/soakShare, o.gentle(soakReads)), chunk)
	l.WriteBytes = max(min(l.WriteBytes/soakShare, o.gentle(soakWrites)), chunk)
	l.Burst = chunk
	l.ReadOps, l.WriteOps, l.Queue = max(l.ReadOps/soakShare, 5), max(l.WriteOps/soakShare, 5), 1
	s.device = governor.NewDevice(o.Dir, l, nil)
	return s, nil
}

func newSoak(o SoakOptions) (soakState, error) {
	free, err := o.Space(o.Dir)
	if err != nil {
		return soakState{}, fmt.Errorf("free space: %w", err)
	}
	size := o.Size
	if size <= 0 { // a fifth of the time for the first round
		size = min(soakUsual, max(int64(o.Minutes*60*soakWrites/5), 4*chunk))
	}
	size = min(size, free/20) / chunk * chunk
	if size < 4*chunk {
		return soakState{}, fmt.Errorf("%w: %.1f MB are free, a soak test takes %d", ErrNoRoom, float64(free)/1e6, 20*4*chunk/1_000_000)
	}
	d, err := Of(o.Dir)
	if err != nil {
		d = Drive{Name: o.Dir, Kind: Unknown, Note: err.Error()}
	}
	return soakState{Version: soakVersion, Seed: rand.Uint64(), Size: size, Report: SoakReport{Drive: d, Dir: o.Dir, Began: time.Now(), Why: []string{}, Errors: []string{}}}, nil
}

// recall reads what the pages should hold. What was written after the last note is of a later generation: such a page
// counts as never written, as does everything if the note is damaged.
func (s *soak) recall() {
	data, err := os.ReadFile(filepath.Join(s.dir, "pages"))
	if err != nil || len(data) != 4*len(s.pages.gens) || crc32.Checksum(data, castagnoli) != s.state.Sum {
		return
	}
	for i := range s.pages.gens {
		s.pages.gens[i].Store(binary.LittleEndian.Uint32(data[4*i:]))
	}
	s.pages.later = true
}

// keep notes the state, synced: after a power cut the test goes on from here.
func (s *soak) keep() error {
	s.kept = time.Now()
	if !s.state.Report.Done { // or the note would know more than the drive
		if err := s.file.Sync(); err != nil {
			if err := s.fault("sync", err); err != nil {
				return err
			}
		}
	}
	s.state.Report.Worked = s.worked()
	data := make([]byte, 0, 4*len(s.pages.gens))
	for i := range s.pages.gens {
		data = binary.LittleEndian.AppendUint32(data, s.pages.gens[i].Load())
	}
	s.state.Sum = crc32.Checksum(data, castagnoli)
	text, err := json.MarshalIndent(s.state, "", " ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"pages": data, "soak.json": append(text, '\n')} {
		if err := replace(filepath.Join(s.dir, name), content); err != nil {
			return fmt.Errorf("soak test: note the state: %w", err)
		}
	}
	return nil
}

// replace writes a file whole or not at all.
func replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *soak) worked() time.Duration { return s.before + time.Since(s.began) }

// run works: first every page is written once, then reads, writes and syncs in turn at random places.
func (s *soak) run(ctx context.Context) error {
	if s.o.Health != nil {
		s.first, s.asked = s.o.Health(), time.Now()
		s.state.Report.SMART = s.first
	}
	big, small := aligned(chunk), aligned(page)
	n := len(s.pages.gens)
	for next := s.unwritten(0); s.worked() < s.state.Report.Wanted; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		var err error
		switch dice := rand.IntN(100); {
		case next < n: // in order, whole chunks
			first := next / perChunk * perChunk
			err = s.write(ctx, big, first)
			next = s.unwritten(first + perChunk)
		case dice < 45:
			err = s.read(ctx, small, rand.IntN(n))
		case dice < 60:
			err = s.read(ctx, big, rand.IntN(n/perChunk)*perChunk)
		case dice < 90:
			err = s.write(ctx, small, rand.IntN(n))
		case dice < 95:
			err = s.write(ctx, big, rand.IntN(n/perChunk)*perChunk)
		default:
			err = s.sync()
		}
		if err != nil {
			return err
		}
		if err := s.upkeep(ctx); err != nil {
			return err
		}
	}
	return s.sync()
}

// unwritten returns the first page from one on that nobody has written.
func (s *soak) unwritten(from int) int {
	for i := from; i < len(s.pages.gens); i++ {
		if s.pages.gens[i].Load() == 0 {
			return i
		}
	}
	return len(s.pages.gens)
}

func (s *soak) upkeep(ctx context.Context) error {
	now := time.Now()
	if s.o.Health != nil && now.Sub(s.asked) > soakHealth {
		s.asked, s.state.Report.SMART = now, s.o.Health()
	}
	if s.o.Tell != nil && now.Sub(s.told) > time.Second {
		s.told = now
		r := s.state.Report
		r.Worked = s.worked()
		s.o.Tell(r)
	}
	if now.Sub(s.kept) > soakKeep && ctx.Err() == nil {
		return s.keep()
	}
	return nil
}

// fault notes a failed request. Too many end the test.
func (s *soak) fault(what string, err error) error {
	r := &s.state.Report
	r.Failed++
	if len(r.Errors) < maxSoakErrs {
		r.Errors = append(r.Errors, fmt.Sprintf("%s: %v", what, err))
	}
	if storage.IsFull(err) {
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	if r.Failed >= maxSoakErrs {
		return fmt.Errorf("%w: %s: %w", ErrWrong, what, err)
	}
	return nil
}

// timed notes how long a request took.
func (s *soak) timed(begin time.Time) {
	took := time.Since(begin)
	r := &s.state.Report
	r.Slowest = max(r.Slowest, took)
	if took > soakStall {
		r.Stalls++
	}
	s.took = append(s.took, float64(took)/float64(time.Millisecond))
	if len(s.took) < soakStretch {
		return
	}
	if s.state.Medians = append(s.state.Medians, middle(s.took)); len(s.state.Medians) > maxMedians {
		s.state.Medians = slices.Delete(s.state.Medians, maxMedians/4, maxMedians/4*3) // the ends are what counts
	}
	s.took = s.took[:0]
}

func (s *soak) read(ctx context.Context, b []byte, first int) error {
	done, err := s.device.Read(ctx)
	if err != nil {
		return err
	}
	defer done(len(b))
	begin := time.Now()
	_, err = s.file.ReadAt(b, int64(first)*page)
	if len(b) == page {
		s.timed(begin)
	}
	s.state.Report.Reads++
	if err == nil {
		if err = s.pages.check(b, first); err == nil {
			s.state.Report.Verified += int64(len(b))
			return nil
		}
		s.pages.failed(len(b), first) // each damage is told once
	}
	return s.fault("read", err)
}

func (s *soak) write(ctx context.Context, b []byte, first int) error {
	done, err := s.device.Write(ctx)
	if err != nil {
		return err
	}
	defer done(len(b))
	s.pages.fill(b, first)
	begin := time.Now()
	n, err := s.file.WriteAt(b, int64(first)*page)
	if len(b) == page {
		s.timed(begin)
	}
	s.state.Report.Writes++
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.pages.failed(len(b), first)
		return s.fault("write", err)
	}
	s.pages.wrote(b, first)
	s.state.Report.Written += int64(len(b))
	return nil
}

func (s *soak) sync() error {
	begin := time.Now()
	err := s.file.Sync()
	s.state.Report.Syncs++
	s.state.Report.Slowest = max(s.state.Report.Slowest, time.Since(begin))
	if err != nil {
		return s.fault("sync", err)
	}
	return nil
}

// judge ends the test with a verdict.
func (s *soak) judge() {
	r := &s.state.Report
	r.Done, r.Verdict, r.Why = true, "sound", []string{}
	if n := len(s.state.Medians); n >= 10 {
		r.Early, r.Late = middle(s.state.Medians[:n/10]), middle(s.state.Medians[n-n/10:])
	}
	if s.o.Health != nil {
		r.SMART = s.o.Health()
	}
	suspect := func(holds bool, format string, args ...any) {
		if holds {
			r.Verdict, r.Why = "suspect", append(r.Why, fmt.Sprintf(format, args...))
		}
	}
	suspect(r.SMART.Hot != "", "hot: %s", r.SMART.Hot)
	risen := r.SMART.Risen(s.first)
	suspect(risen != "", "SMART counts rose: %s", risen)
	suspect(r.Stalls > 3, "%d requests took over a second, the slowest %v", r.Stalls, r.Slowest.Round(time.Millisecond))
	suspect(r.Early > 0 && r.Late > soakSlowdown*r.Early && r.Late > 2, "a request took %.1f ms at the beginning and %.1f ms at the end: it throttles", r.Early, r.Late)
	if r.Failed > 0 || r.SMART.Verdict == Dying {
		r.Verdict = "failed"
		if r.Failed > 0 {
			r.Why = append([]string{fmt.Sprintf("%d requests failed or gave back wrong data, the first: %s", r.Failed, r.Errors[0])}, r.Why...)
		}
		if r.SMART.Verdict == Dying {
			r.Why = append(r.Why, r.SMART.Why[0])
		}
	}
}
