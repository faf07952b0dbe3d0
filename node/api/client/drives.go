package client

import (
	"context"
	"net/http"
	"net/url"

	"kith/node/api"
)

// Drives lists the node's drives.
func (c *Client) Drives(ctx context.Context) (d api.DriveList, err error) {
	return d, c.call(ctx, http.MethodGet, "drives", nil, &d)
}

// MeasureDrive measures a drive in use.
func (c *Client) MeasureDrive(ctx context.Context, drive string) (d api.Drive, err error) {
	return d, c.call(ctx, http.MethodPost, "drives/"+url.PathEscape(drive)+"/measure", nil, &d)
}

// ForgetDrive takes the marks of trouble from a drive.
func (c *Client) ForgetDrive(ctx context.Context, drive string) (d api.Drive, err error) {
	return d, c.call(ctx, http.MethodPost, "drives/"+url.PathEscape(drive)+"/forget", nil, &d)
}

// SoakedDrive tells the node that a soak test has ended in a folder.
func (c *Client) SoakedDrive(ctx context.Context, dir string) (d api.Drive, err error) {
	return d, c.call(ctx, http.MethodPost, "drives/soaked", api.DriveDir{Dir: dir}, &d)
}
