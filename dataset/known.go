package dataset

// KnownSet describes a published data set: where it is to be had, and what its files
// must hold. Verify compares a folder with it.
type KnownSet struct {
	Name       string   `json:"name"`
	Title      string   `json:"title"`
	Authors    string   `json:"authors"`
	Page       string   `json:"page"`    // of those who published it
	Licence    string   `json:"licence"` // of the data
	At         string   `json:"at"`      // what comes with epsball, as --data takes it; empty: nothing
	Images     string   `json:"images"`  // of the whole set
	ClassNames []string `json:"class_names"`

	// Archive is the file that the publisher packs the others in, or nil.
	Archive *KnownFile  `json:"archive,omitempty"`
	Files   []KnownFile `json:"files"`
}

// KnownFile is a file of a set. Size and sums are those of the unpacked contents, so
// that it does not matter who packed them with what; those of an archive are its own.
// What could not be checked against the file itself is left out.
type KnownFile struct {
	Name   string `json:"name"` // without .gz
	Part   string `json:"part,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	MD5    string `json:"md5,omitempty"` // as published
	SHA256 string `json:"sha256,omitempty"`

	// Starts has sums of its first images, where those of all are not known.
	Starts []KnownStart `json:"starts,omitempty"`
}

// KnownStart is the sum of the first images of a file.
type KnownStart struct {
	Images int    `json:"images"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// KnownSets returns the sets that this package knows. The sums of MNIST and
// Fashion-MNIST were computed from the files; their MD5 sums are the published ones.
// CIFAR-10's publisher gives the MD5 of an archive alone; the sums of the first images
// were computed from lossless copies of these.
func KnownSets() []KnownSet {
	batch := func(name, part string, starts ...KnownStart) KnownFile {
		return KnownFile{Name: name, Part: part, Bytes: 10_000 * cifarRecord, Starts: starts}
	}
	return []KnownSet{
		{
			Name: "mnist", Title: "MNIST handwritten digits",
			Authors: "Yann LeCun, Corinna Cortes, Christopher J. C. Burges",
			Page:    "http://yann.lecun.com/exdb/mnist/",
			Licence: "CC BY-SA 3.0",
			At:      "builtin:mnist (test); testdata/mnist#train in a clone of the repository",
			Images:  "60,000 training, 10,000 test; 1×28×28",

			ClassNames: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
			Files: []KnownFile{
				{
					Name: "train-images-idx3-ubyte", Part: "train", Bytes: 47040016,
					MD5:    "6bbc9ace898e44ae57da46a324031adb",
					SHA256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
				},
				{
					Name: "train-labels-idx1-ubyte", Part: "train", Bytes: 60008,
					MD5:    "a25bea736e30d166cdddb491f175f624",
					SHA256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
				},
				{
					Name: "t10k-images-idx3-ubyte", Part: "test", Bytes: 7840016,
					MD5:    "2646ac647ad5339dbf082846283269ea",
					SHA256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
				},
				{
					Name: "t10k-labels-idx1-ubyte", Part: "test", Bytes: 10008,
					MD5:    "27ae3e4e09519cfbb04c329615203637",
					SHA256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
				},
			},
		},
		{
			Name: "fashion-mnist", Title: "Fashion-MNIST, articles of clothing",
			Authors: "Han Xiao, Kashif Rasul, Roland Vollgraf (Zalando)",
			Page:    "https://github.com/zalandoresearch/fashion-mnist",
			Licence: "MIT",
			Images:  "60,000 training, 10,000 test; 1×28×28",

			ClassNames: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
			Files: []KnownFile{
				{
					Name: "train-images-idx3-ubyte", Part: "train", Bytes: 47040016,
					MD5:    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
					SHA256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
				},
				{
					Name: "train-labels-idx1-ubyte", Part: "train", Bytes: 60008,
					MD5:    "9018921c3c673c538a1fc5bad174d6f9",
					SHA256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
				},
				{
					Name: "t10k-images-idx3-ubyte", Part: "test", Bytes: 7840016,
					MD5:    "8181f5470baa50b63fa0f6fddb340f0a",
					SHA256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
				},
				{
					Name: "t10k-labels-idx1-ubyte", Part: "test", Bytes: 10008,
					MD5:    "15d484375f8d13e6eb1aabb0c3f46965",
					SHA256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
				},
			},
		},
		{
			Name: "cifar10", Title: "CIFAR-10, binary version: photographs of ten things",
			Authors: "Alex Krizhevsky, Vinod Nair, Geoffrey Hinton",
			Page:    "https://www.cs.toronto.edu/~kriz/cifar.html",
			Licence: "none stated; the publisher asks to cite Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
			Images:  "50,000 training, 10,000 test; 3×32×32",

			ClassNames: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
			Archive:    &KnownFile{Name: "cifar-10-binary.tar.gz", MD5: "c32a1d4ab5d03f1284b67883e8d87530"},
			Files: []KnownFile{
				batch("data_batch_1.bin", "train", KnownStart{
					Images: 4000, Bytes: 4000 * cifarRecord,
					SHA256: "0993cf8b8e43bc207603aef9787006995746513f5e3fa5a52e06d1b069926330",
				}),
				batch("data_batch_2.bin", "train"),
				batch("data_batch_3.bin", "train"),
				batch("data_batch_4.bin", "train"),
				batch("data_batch_5.bin", "train"),
				batch("test_batch.bin", "test", KnownStart{
					Images: 100, Bytes: 100 * cifarRecord,
					SHA256: "440e5480f4f4a46030e496053a7f3d793d4bd5e284f762e076c2ee22afe98666",
				}),
			},
		},
	}
}
