// Package msix replaces go.digitalxero.dev/go-msix, which builds MSIX packages for Windows and which the public
// module proxy does not serve. Goreleaser links that package through nfpm. As Tidings is not released as MSIX, this
// package only has the types and functions that nfpm uses, and every function returns an error.
package msix

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io"
)

// errAbsent is returned by every function.
var errAbsent = errors.New("this goreleaser is built without MSIX: see docs/release.md")

// LoadPFX returns an error.
func LoadPFX(path, passphrase string) (*x509.Certificate, crypto.PrivateKey, []*x509.Certificate, error) {
	return nil, nil, nil, errAbsent
}

// Builder has the fields that nfpm sets.
type Builder struct {
	Manifest    Manifest
	SignOptions *SignOptions
}

// NewBuilder returns a Builder whose methods return errors.
func NewBuilder() *Builder { return &Builder{} }

// AddFile returns an error.
func (*Builder) AddFile(destination, source string) error { return errAbsent }

// Build returns an error.
func (*Builder) Build(w io.Writer) error { return errAbsent }

// These types have the fields that nfpm sets.
type (
	SignOptions struct {
		Certificate *x509.Certificate
		PrivateKey  crypto.PrivateKey
		CertChain   []*x509.Certificate
	}
	Manifest struct {
		Identity     Identity
		Properties   Properties
		Dependencies Dependencies
		Resources    []Resource
		Applications []Application
		Capabilities Capabilities
	}
	Identity           struct{ Name, Version, Publisher, ProcessorArchitecture, ResourceID string }
	Properties         struct{ DisplayName, PublisherDisplayName, Logo, Description string }
	Dependencies       struct{ TargetDeviceFamilies []TargetDeviceFamily }
	TargetDeviceFamily struct{ Name, MinVersion, MaxVersionTested string }
	Resource           struct{ Language string }
	Application        struct {
		ID, Executable, EntryPoint string
		VisualElements             VisualElements
	}
	VisualElements struct {
		DisplayName, Description, BackgroundColor string
		Square150x150Logo, Square44x44Logo        string
	}
	Capabilities struct {
		Capabilities       []Capability
		DeviceCapabilities []DeviceCapability
		Restricted         []RestrictedCapability
	}
	Capability           struct{ Name string }
	DeviceCapability     struct{ Name string }
	RestrictedCapability struct{ Name string }
)
