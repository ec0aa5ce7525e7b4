package goml

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

const (
	manifestName     = "version.json"
	manifestBytesMax = 1 << 20
	versionsMax      = 1_000
)

// modelName is what a model may be called: it becomes a folder's name.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// manifest is version.json.
type manifest struct {
	Backend string `json:"backend"`
	// Files by role; a SHA-256 that is given must be that of the file.
	Files    map[string]manifestFile `json:"files"`
	Settings map[string]any          `json:"settings,omitempty"`
}

type manifestFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256,omitempty"`
}

// repository is the folder of models.
type repository struct{ folder string }

// models are the names of all models, sorted.
func (repository repository) models() ([]string, error) {
	entries, err := os.ReadDir(repository.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("goml: the folder of models cannot be read: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && modelName.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// versions are the numbers of a model's versions, newest first.
func (repository repository) versions(model string) []uint64 {
	if !modelName.MatchString(model) {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(repository.folder, model))
	if err != nil {
		return nil
	}
	var versions []uint64
	for _, entry := range entries {
		number, err := strconv.ParseUint(entry.Name(), 10, 63)
		if err == nil && number > 0 && entry.IsDir() && entry.Name() == strconv.FormatUint(number, 10) {
			versions = append(versions, number)
		}
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	return versions
}

func (repository repository) versionFolder(model string, version uint64) string {
	return filepath.Join(repository.folder, model, strconv.FormatUint(version, 10))
}

// source reads a version's manifest and checks its files.
func (repository repository) source(model string, version uint64) (backend string, source Source, err error) {
	folder := repository.versionFolder(model, version)
	read, err := readManifest(filepath.Join(folder, manifestName))
	if err != nil {
		return "", Source{}, err
	}
	files := map[string]string{}
	for role, file := range read.Files {
		path := file.Path
		if !filepath.IsAbs(path) {
			if !filepath.IsLocal(path) {
				return "", Source{}, fmt.Errorf("the path of %q leaves the version's folder", role)
			}
			path = filepath.Join(folder, path)
		}
		if file.SHA256 != "" {
			if err := checkHash(path, file.SHA256); err != nil {
				return "", Source{}, err
			}
		}
		files[role] = path
	}
	return read.Backend, Source{Model: model, Version: version, Folder: folder, Files: files, Settings: read.Settings}, nil
}

func readManifest(path string) (manifest, error) {
	file, err := os.Open(path)
	if err != nil {
		return manifest{}, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	defer file.Close()
	decoder := json.NewDecoder(io.LimitReader(file, manifestBytesMax))
	decoder.DisallowUnknownFields()
	var read manifest
	if err := decoder.Decode(&read); err != nil {
		return manifest{}, fmt.Errorf("%s is not a manifest: %w", manifestName, err)
	}
	return read, nil
}

func hashOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func checkHash(path, expected string) error {
	found, err := hashOf(path)
	if err != nil {
		return fmt.Errorf("a file of the version cannot be read: %w", err)
	}
	if found != expected {
		return fmt.Errorf("%s is damaged: its SHA-256 is not that of %s", filepath.Base(path), manifestName)
	}
	return nil
}

// save makes a new version out of what train writes into a folder: whole or not at all.
func (repository repository) save(model, backend string, train func(folder string) (Trained, error)) (uint64, Trained, error) {
	parent := filepath.Join(repository.folder, model)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return 0, Trained{}, fmt.Errorf("goml: %w", err)
	}
	folder, err := os.MkdirTemp(parent, ".training-")
	if err != nil {
		return 0, Trained{}, fmt.Errorf("goml: %w", err)
	}
	defer os.RemoveAll(folder)
	trained, err := train(folder)
	if err != nil {
		return 0, Trained{}, err
	}
	if err := writeManifest(folder, backend, trained); err != nil {
		return 0, Trained{}, fmt.Errorf("goml: %w", err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		return 0, Trained{}, fmt.Errorf("goml: %w", err)
	}
	// Two trainings may end at once: the rename decides who gets which number.
	next := uint64(1)
	if versions := repository.versions(model); len(versions) > 0 {
		next = versions[0] + 1
	}
	for try := 0; try < versionsMax; try++ {
		err = os.Rename(folder, repository.versionFolder(model, next))
		if err == nil {
			return next, trained, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		next++
	}
	return 0, Trained{}, fmt.Errorf("goml: the version cannot be saved: %w", err)
}

func writeManifest(folder, backend string, trained Trained) error {
	written := manifest{Backend: backend, Files: map[string]manifestFile{}, Settings: trained.Settings}
	for role, name := range trained.Files {
		hash, err := hashOf(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		written.Files[role] = manifestFile{Path: name, SHA256: hash}
	}
	data, err := json.MarshalIndent(written, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, manifestName), append(data, '\n'), 0o644)
}
