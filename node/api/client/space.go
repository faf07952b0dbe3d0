package client

import (
	"context"
	"net/http"
	"time"

	"kith/node/api"
	"kith/storage/quota"
)

// Space says what fills the disk, and what could go.
func (c *Client) Space(ctx context.Context) (r api.SpaceReport, err error) {
	return r, c.call(ctx, http.MethodGet, "space", nil, &r)
}

// FreeSpace frees kinds of data.
func (c *Client) FreeSpace(ctx context.Context, kinds []quota.Kind) (f api.Freed, err error) {
	return f, c.call(ctx, http.MethodPost, "space/free", api.FreeKinds{Kinds: kinds}, &f)
}

// Override switches the disk guard off for a while; 0: on again.
func (c *Client) Override(ctx context.Context, d time.Duration) error {
	var g api.GuardOff
	return c.call(ctx, http.MethodPost, "space/guard", api.GuardOff{Seconds: int64(d.Seconds())}, &g)
}
