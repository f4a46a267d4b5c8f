"""Sound as a model hears it: how loud each band of pitches is, every hundredth of a second."""
import math

import torch

# Slaney's scale of pitch: 3 mel for 200 Hz up to 1000 Hz, above it 27 mel for a factor of 6.4.
BEND_HZ, BEND_MEL, LOG_STEP = 1000.0, 15.0, math.log(6.4) / 27


def hz_to_mel(hz):
    """Frequencies in Hz (tensor of any shape) on Slaney's scale of pitch. Source: Slaney 1998."""
    above = BEND_MEL + (hz.clamp(min=BEND_HZ) / BEND_HZ).log() / LOG_STEP
    return torch.where(hz < BEND_HZ, hz * BEND_MEL / BEND_HZ, above)


def mel_to_hz(mel):
    """The way back from Slaney's scale of pitch to Hz."""
    above = BEND_HZ * ((mel.clamp(min=BEND_MEL) - BEND_MEL) * LOG_STEP).exp()
    return torch.where(mel < BEND_MEL, mel * BEND_HZ / BEND_MEL, above)


def mel_filters(n_mels=80, n_fft=400, sample_rate=16000):
    """Triangles that gather the frequencies of a spectrum into bands: (n_mels, n_fft // 2 + 1).

    Band m rises from edge m to edge m + 1 and falls to edge m + 2; the n_mels + 2 edges lie at
    equal steps of pitch from 0 to sample_rate / 2 Hz, and each triangle has the area 1 over Hz.
    Raises ValueError where a triangle is so narrow that it lies between two frequencies.
    """
    top = torch.tensor(sample_rate / 2, dtype=torch.float64)
    edges = mel_to_hz(torch.linspace(0, 1, n_mels + 2, dtype=torch.float64) * hz_to_mel(top))
    hz = torch.linspace(0, 1, n_fft // 2 + 1, dtype=torch.float64) * top
    low, middle, high = (edges[i:i + n_mels, None] for i in range(3))       # (n_mels, 1) in Hz
    filters = torch.minimum((hz - low) / (middle - low), (high - hz) / (high - middle))
    filters = filters.clamp(min=0) * 2 / (high - low)
    if not bool((filters > 0).any(1).all()):
        raise ValueError(f"{n_mels} bands on {n_fft // 2 + 1} frequencies leave some band without "
                         "any: take fewer bands or a longer n_fft")
    return filters.float()


def power_spectrum(wave, n_fft=400, hop=160):
    """Squared size of each frequency in each frame: (..., T) -> (..., n_fft // 2 + 1, T // hop).

    Frame i is centred on sample i * hop, under a Hann window of n_fft samples; beyond its ends
    the wave is mirrored. Raises ValueError for a wave of n_fft // 2 samples or fewer.
    """
    if wave.shape[-1] <= n_fft // 2:
        raise ValueError(f"a wave of {wave.shape[-1]} samples came: more than {n_fft // 2} are "
                         "needed to mirror its ends")
    window = torch.hann_window(n_fft, device=wave.device)
    flat = wave.reshape(-1, wave.shape[-1]).float()
    spectrum = torch.stft(flat, n_fft, hop, window=window, center=True, return_complex=True)
    power = spectrum.abs().square()[..., :wave.shape[-1] // hop]
    return power.reshape(*wave.shape[:-1], *power.shape[1:])


def log_mel(wave, sample_rate=16000, n_mels=80, n_fft=400, hop=160):
    """A wave (..., T) as Whisper reads it: (..., n_mels, T // hop), 30 s -> 3000 frames.

    The decimal logarithm of the power in each band, nothing more than 8 below the loudest of its
    wave, shifted and scaled to about -1 .. 1. Source: Radford 2022 (2212.04356).
    """
    filters = mel_filters(n_mels, n_fft, sample_rate).to(wave.device)
    loud = (filters @ power_spectrum(wave, n_fft, hop)).clamp(min=1e-10).log10()
    loud = torch.maximum(loud, loud.amax((-2, -1), keepdim=True) - 8)
    return (loud + 4) / 4


def resample(wave, sample_rate, wanted):
    """A wave (T,) at another rate (samples per second), about T * wanted / sample_rate samples."""
    if sample_rate == wanted:
        return wave
    from scipy.signal import resample_poly
    shared = math.gcd(sample_rate, wanted)
    out = resample_poly(wave.cpu().numpy(), wanted // shared, sample_rate // shared)
    return torch.from_numpy(out).to(wave)
