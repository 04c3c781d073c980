// Package s3 keeps jobs in a bucket of Amazon S3 or of a server that speaks the same protocol.
// It is a package of its own so that only programs that import it carry the client.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Scheme is what the names of buckets begin with.
const Scheme = "s3://"

// maxObject is the largest object that S3 takes in one request.
const maxObject = 5 << 30

// Bucket is a jobs.Store in a bucket, under a prefix. Put relies on the server's conditional
// writes (If-None-Match: *), which Amazon S3 has had since 2024; jobs.Plan finds out whether a
// server has them. It is safe for concurrent use.
type Bucket struct {
	c      minio.Core
	bucket string
	prefix string // ends in a slash, or is empty
	spec   string
}

// Open returns the bucket and prefix that s3://BUCKET/PREFIX names. The server is
// $AWS_ENDPOINT_URL, such as https://s3.example.com:9000, or Amazon's; the region is
// $AWS_REGION. Credentials are looked for in $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY, in
// ~/.aws/credentials, and where machines and pods of Amazon find theirs. Nothing is sent yet.
func Open(spec string) (*Bucket, error) {
	rest, ok := strings.CutPrefix(spec, Scheme)
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" {
		return nil, fmt.Errorf("%s: want s3://BUCKET/PREFIX", spec)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	const variable = "AWS_ENDPOINT_URL"
	endpoint := cmp.Or(os.Getenv(variable), "https://s3.amazonaws.com")
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("$%s: got %s, want a URL such as https://s3.example.com:9000", variable, endpoint)
	}
	c, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: 10 * time.Second}},
		}),
		Secure: u.Scheme == "https",
		Region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec, err)
	}
	return &Bucket{c: minio.Core{Client: c}, bucket: bucket, prefix: prefix, spec: strings.TrimRight(spec, "/")}, nil
}

// String returns the name that Open was given.
func (b *Bucket) String() string { return b.spec }

// Put stores an object in one request, unless there is one of that name.
func (b *Bucket) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	if size > maxObject {
		return fmt.Errorf("%s/%s: %d bytes, but an object may have %d: use smaller shards", b.spec, name, size, int64(maxObject))
	}
	o := minio.PutObjectOptions{ContentType: "application/json", DisableMultipart: true}
	o.SetMatchETagExcept("*")
	_, err := b.c.Client.PutObject(ctx, b.bucket, b.prefix+name, r, size, o)
	return b.failed(name, err)
}

// Get opens an object.
func (b *Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	r, _, _, err := b.c.GetObject(ctx, b.bucket, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed(name, err)
	}
	return r, nil
}

// List lists objects.
func (b *Bucket) List(ctx context.Context, folder string, yield func(name string, size int64) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing where yield fails
	defer cancel()
	for o := range b.c.Client.ListObjects(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + folder + "/"}) {
		if o.Err != nil {
			return b.failed(folder, o.Err)
		}
		if err := yield(strings.TrimPrefix(o.Key, b.prefix), o.Size); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Size returns the bytes of an object.
func (b *Bucket) Size(ctx context.Context, name string) (int64, error) {
	info, err := b.c.Client.StatObject(ctx, b.bucket, b.prefix+name, minio.StatObjectOptions{})
	return info.Size, b.failed(name, err)
}

// Range opens n ≥ 1 bytes of an object from a byte on.
func (b *Bucket) Range(ctx context.Context, name string, from, n int64) (io.ReadCloser, error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(from, from+n-1); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", b.spec, name, err)
	}
	r, _, _, err := b.c.GetObject(ctx, b.bucket, b.prefix+name, o)
	if err != nil {
		return nil, b.failed(name, err)
	}
	return r, nil
}

// failed names the object, and gives the errors of a Store to what the server said.
func (b *Bucket) failed(name string, err error) error {
	if err == nil {
		return nil
	}
	switch said := minio.ToErrorResponse(err); {
	case errors.Is(err, context.Canceled):
	case said.StatusCode == http.StatusPreconditionFailed, said.Code == minio.PreconditionFailed:
		err = fs.ErrExist
	case said.Code == minio.NoSuchKey:
		err = fs.ErrNotExist
	}
	return fmt.Errorf("%s/%s: %w", b.spec, name, err)
}
