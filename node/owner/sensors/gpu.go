package sensors

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// Card is a graphics card and its memory.
type Card struct {
	Name       string
	Total, Use int64 // bytes
}

// GPUs tells what graphics memory there is. NVIDIA is the real one; tests have others.
type GPUs interface {
	// Cards lists the cards; none is no error.
	Cards(ctx context.Context) ([]Card, error)
}

// NVIDIA asks the vendor's program, which reads the driver's management library in a process of its own: a driver that
// hangs or crashes takes nothing of the node with it.
type NVIDIA struct {
	Run func(ctx context.Context, name string, args ...string) ([]byte, error) // nil: runs the program
}

// Cards implements GPUs. Where the program is missing there are none.
func (n NVIDIA) Cards(ctx context.Context) ([]Card, error) {
	do := n.Run
	if do == nil {
		do = run
	}
	out, err := do(ctx, "nvidia-smi", "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits")
	if err != nil {
		return nil, fmt.Errorf("no card was found: %w", err)
	}
	return parseCards(string(out))
}

// parseCards reads lines of name, MiB in all, MiB in use.
func parseCards(out string) ([]Card, error) {
	r := csv.NewReader(strings.NewReader(out))
	r.FieldsPerRecord, r.TrimLeadingSpace = 3, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	var cards []Card
	for _, row := range rows {
		total, errTotal := strconv.ParseInt(strings.TrimSpace(row[1]), 10, 32)
		use, errUse := strconv.ParseInt(strings.TrimSpace(row[2]), 10, 32)
		if errTotal != nil || errUse != nil || total <= 0 || use < 0 || use > total {
			return nil, fmt.Errorf("nvidia-smi says nonsense: %.100q", row)
		}
		cards = append(cards, Card{Name: row[0], Total: total << 20, Use: use << 20})
	}
	return cards, nil
}
