package gpu

import (
	"context"
	"os"
)

// systemCards lists the cards that the kernel shows.
func systemCards(context.Context) ([]Card, error) { return parseDRM(os.DirFS("/")), nil }
