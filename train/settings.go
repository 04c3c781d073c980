package train

import (
	"slices"

	"github.com/epsball/epsball/model"
)

// Settings of methods.
var (
	warmupEpochs = Setting{
		Field: "warmupEpochs", Flag: "warmup", Usage: "epochs at radius 0", max: maxEpochs,
		Of: func(c *Config) any { return &c.WarmupEpochs },
	}
	rampEpochs = Setting{
		Field: "rampEpochs", Flag: "ramp", Usage: "epochs in which the radius then rises", max: maxEpochs,
		Of: func(c *Config) any { return &c.RampEpochs },
	}
	rampShape = Setting{
		Field: "rampShape", Flag: "ramp-shape", Usage: "how the radius rises", Quiet: true, Choices: []string{"linear", "smooth"},
		Of: func(c *Config) any { return &c.RampShape },
	}
	pgdSteps = Setting{
		Field: "pgdSteps", Flag: "pgd-steps", Usage: "steps of the attack trained on", min: 1, max: 10000,
		Of: func(c *Config) any { return &c.PGDSteps },
	}
	pgdStepSize = Setting{
		Field: "pgdStepSize", Flag: "pgd-step-size", Usage: "length of a step of the attack as a fraction of the radius", max: 2, above: true,
		Of: func(c *Config) any { return &c.PGDStepSize },
	}
	kappaStart = Setting{
		Field: "kappaStart", Flag: "kappa-start", Usage: "weight of the clean loss until the radius rises", Quiet: true, max: 1,
		Of: func(c *Config) any { return &c.KappaStart },
	}
	kappaFinal = Setting{
		Field: "kappaFinal", Flag: "kappa", Usage: "weight of the clean loss at the end", max: 1,
		Of: func(c *Config) any { return &c.KappaFinal },
	}
	beta = Setting{
		Field: "beta", Flag: "beta", Usage: "weight of the regulariser", max: 1000,
		Of: func(c *Config) any { return &c.Beta },
	}
	probeLength = Setting{
		Field: "probe", Flag: "probe", Usage: "L2 length of the finite difference that the regulariser is taken by", min: 0.001, max: 10,
		Of: func(c *Config) any { return &c.Probe },
	}
	subbox = Setting{
		Field: "subbox", Flag: "subbox", Usage: "radius of the small boxes as a fraction of the radius (λ)", max: 1, above: true,
		Of: func(c *Config) any { return &c.Subbox },
	}
	alpha = Setting{
		Field: "alpha", Flag: "alpha", Usage: "weight of the loss on interval bounds", max: 1,
		Of: func(c *Config) any { return &c.Alpha },
	}
	awp = Setting{
		Field: "awp", Flag: "awp", Usage: "length of the weights' adversarial perturbation as a fraction of theirs, 0: none", max: 1, Quiet: true,
		Of: func(c *Config) any { return &c.AWP },
	}
	awpWarmup = Setting{
		Field: "awpWarmup", Flag: "awp-warmup", Usage: "epochs before it", max: maxEpochs, Quiet: true,
		Of: func(c *Config) any { return &c.AWPWarmup },
	}
	labelSmoothing = Setting{
		Field: "labelSmoothing", Flag: "label-smoothing", Usage: "share of the target that all classes have alike", max: 1, Quiet: true,
		Of: func(c *Config) any { return &c.LabelSmoothing },
	}
	attackScale = Setting{
		Field: "attackScale", Flag: "attack-scale", Usage: "radius of the attack in multiples of the radius", max: 10, above: true,
		Of: func(c *Config) any { return &c.AttackScale },
	}
)

// Groups of the settings that all methods have.
const (
	GroupOptimizer    = "optimizer"
	GroupSchedule     = "learning rate"
	GroupAugmentation = "augmentation"
	GroupValidation   = "validation"
)

// Settings of all methods. Zero values are those of the built-in models.
var (
	initial = Setting{
		Field: "init", Flag: "init", Usage: "distribution of first weights", Group: GroupOptimizer, Choices: []string{string(model.InitHe), string(model.InitIBP)},
		Of: func(c *Config) any { return &c.Init },
	}
	optimizer = Setting{
		Field: "optimizer", Flag: "optimizer", Usage: "how gradients change the weights", Group: GroupOptimizer, Choices: []string{"adam", "adamw", "sgd"},
		Of: func(c *Config) any { return &c.Optimizer },
	}
	momentum = Setting{
		Field: "momentum", Flag: "momentum", Usage: "share of the last step that the next one keeps", Group: GroupOptimizer, max: 0.9999,
		of: &optimizer, where: []string{"sgd"},
		Of: func(c *Config) any { return &c.Momentum },
	}
	nesterov = Setting{
		Field: "nesterov", Flag: "nesterov", Usage: "Nesterov's momentum", Group: GroupOptimizer,
		of: &optimizer, where: []string{"sgd"},
		Of: func(c *Config) any { return &c.Nesterov },
	}
	weightDecay = Setting{
		Field: "weightDecay", Flag: "weight-decay", Usage: "L2 penalty on the weights of layers, decoupled with adamw", Group: GroupOptimizer, max: 1,
		Of: func(c *Config) any { return &c.WeightDecay },
	}
	l1 = Setting{
		Field: "l1", Flag: "l1", Usage: "L1 penalty on the weights of layers", Group: GroupOptimizer, max: 1,
		Of: func(c *Config) any { return &c.L1 },
	}
	clip = Setting{
		Field: "clip", Flag: "clip", Usage: "largest Euclidean norm of a step's gradient; 0: any", Group: GroupOptimizer, max: 1e6,
		Of: func(c *Config) any { return &c.Clip },
	}
	averageKind = Setting{
		Field: "average", Flag: "average", Usage: "mean of the weights that is the model", Group: GroupOptimizer, Choices: []string{"none", "ema", "swa"},
		Of: func(c *Config) any { return &c.Average },
	}
	averageDecay = Setting{
		Field: "averageDecay", Flag: "average-decay", Usage: "share of the mean that a step of ema keeps; 0: 0.999", Group: GroupOptimizer, max: 0.999999,
		of: &averageKind, where: []string{"ema"},
		Of: func(c *Config) any { return &c.AverageDecay },
	}
	averageStart = Setting{
		Field: "averageStart", Flag: "average-start", Usage: "where the mean begins, as a fraction of the epochs; 0: at the start, swa at 0.75", Group: GroupOptimizer, max: 1,
		of: &averageKind, where: []string{"ema", "swa"},
		Of: func(c *Config) any { return &c.AverageStart },
	}
	schedule = Setting{
		Field: "schedule", Flag: "schedule", Usage: "course of the learning rate", Group: GroupSchedule, Choices: []string{"smooth", "constant", "step", "cosine", "one-cycle"},
		Of: func(c *Config) any { return &c.Schedule },
	}
	milestones = Setting{
		Field: "milestones", Flag: "milestones", Usage: "fractions of the epochs at which step lowers it; unset: 0.7,0.85", Group: GroupSchedule, max: 1,
		of: &schedule, where: []string{"step"},
		Of: func(c *Config) any { return &c.Milestones },
	}
	lrDecay = Setting{
		Field: "lrDecay", Flag: "lr-decay", Usage: "factor by which it does; 0: 0.2", Group: GroupSchedule, max: 1,
		of: &schedule, where: []string{"step"},
		Of: func(c *Config) any { return &c.LRDecay },
	}
	cyclePeak = Setting{
		Field: "cyclePeak", Flag: "cycle-peak", Usage: "fraction of the epochs at which one-cycle is highest; 0: 0.4", Group: GroupSchedule, max: 0.99,
		of: &schedule, where: []string{"one-cycle"},
		Of: func(c *Config) any { return &c.CyclePeak },
	}
	shift = Setting{
		Field: "shift", Flag: "shift", Usage: "shift images by up to so many pixels each way, zeros coming in (random crops)", Group: GroupAugmentation, max: 64,
		Of: func(c *Config) any { return &c.Shift },
	}
	flip = Setting{
		Field: "flip", Flag: "flip", Usage: "mirror images left to right, half of them", Group: GroupAugmentation,
		Of: func(c *Config) any { return &c.Flip },
	}
	validation = Setting{
		Field: "validation", Flag: "validation", Usage: "fraction of the training images to hold back, and look at after each epoch", Group: GroupValidation, max: 0.9,
		Of: func(c *Config) any { return &c.Validation },
	}
	keep = Setting{
		Field: "keep", Flag: "keep", Usage: "epoch whose weights are the model, best by validation", Group: GroupValidation, Choices: []string{"last", "best"},
		Of: func(c *Config) any { return &c.Keep },
	}
	patience = Setting{
		Field: "patience", Flag: "patience", Usage: "stop after so many epochs without a better one; 0: never", Group: GroupValidation, max: maxEpochs,
		Of: func(c *Config) any { return &c.Patience },
	}
)

// CommonSettings lists the settings of every method, by groups. Those of a method alone
// are its Settings.
func CommonSettings() []*Setting {
	return []*Setting{
		&initial, &optimizer, &momentum, &nesterov, &weightDecay, &l1, &clip, &averageKind, &averageDecay, &averageStart,
		&schedule, &milestones, &lrDecay, &cyclePeak,
		&shift, &flip,
		&validation, &keep, &patience,
	}
}

// Settings lists the settings that m uses and some methods do not: the schedule of the
// radius first, if it trains at one (Config.TrainEps). It is nil for an unknown method.
func (m Method) Settings() []*Setting {
	o := objectiveOf(m)
	if o == nil {
		return nil
	}
	var list []*Setting
	if o.radius() {
		list = append(list, &warmupEpochs, &rampEpochs, &rampShape)
	}
	if o.uses(&kappaFinal) {
		list = append(list, &kappaStart)
	}
	return append(list, o.settings...)
}

// Settings lists the settings of all methods but the common ones, each once.
func Settings() []*Setting {
	var list []*Setting
	for _, m := range Methods() {
		for _, s := range m.Settings() {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}
