//! Images as tensors of bytes (`OPSET` §10, `AIMODEL_FORMAT` §4).

use coreai_asset::Type;

/// How the bytes of an image lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Red, green, blue: `[height, width, 3]`.
    Rgb24,
    /// Alpha, red, green, blue: `[height, width, 4]`.
    Argb32,
    /// Blue, green, red, alpha: `[height, width, 4]`.
    Bgra32,
    /// Luma, then both chroma planes at half the resolution, in full range: `[height · width · 3 / 2]`.
    Y420,
}

/// The image that an input or output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageDescriptor {
    /// Layout of its bytes.
    pub format: PixelFormat,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl PixelFormat {
    fn of(fourcc: u64) -> Option<PixelFormat> {
        Some(match fourcc {
            24 => PixelFormat::Rgb24,
            32 => PixelFormat::Argb32,
            0x4247_5241 => PixelFormat::Bgra32,
            0x7934_3230 => PixelFormat::Y420,
            _ => return None,
        })
    }
}

impl ImageDescriptor {
    /// The image of an image type; `None` for other types and for formats without a tensor.
    pub(crate) fn of(ty: &Type) -> Option<ImageDescriptor> {
        let Type::Image { fourcc, height, width, .. } = ty else { return None };
        let (height, width) = (usize::try_from(*height).ok()?, usize::try_from(*width).ok()?);
        Some(ImageDescriptor { format: PixelFormat::of(*fourcc)?, height, width })
    }

    /// Extents of the uint8 tensor that holds the image; `None` when they overflow.
    pub fn shape(&self) -> Option<Vec<usize>> {
        let pixels = self.height.checked_mul(self.width)?;
        pixels.checked_mul(4)?;
        Some(match self.format {
            PixelFormat::Rgb24 => vec![self.height, self.width, 3],
            PixelFormat::Argb32 | PixelFormat::Bgra32 => vec![self.height, self.width, 4],
            PixelFormat::Y420 => vec![pixels * 3 / 2],
        })
    }

    /// The image's bytes from red, green, blue, alpha, row by row. `None` when there are not as many.
    pub fn from_rgba(&self, rgba: &[u8]) -> Option<Vec<u8>> {
        self.shape()?;
        if rgba.len() != self.height * self.width * 4 {
            return None;
        }
        let pixels = rgba.chunks_exact(4);
        Some(match self.format {
            PixelFormat::Rgb24 => pixels.flat_map(|p| [p[0], p[1], p[2]]).collect(),
            PixelFormat::Argb32 => pixels.flat_map(|p| [p[3], p[0], p[1], p[2]]).collect(),
            PixelFormat::Bgra32 => pixels.flat_map(|p| [p[2], p[1], p[0], p[3]]).collect(),
            PixelFormat::Y420 => self.y420(rgba),
        })
    }

    /// ITU-R BT.601 in full range; a chroma sample is the mean of its 2 × 2 pixels.
    fn y420(&self, rgba: &[u8]) -> Vec<u8> {
        let pixel = |x: usize, y: usize| {
            let at = (y.min(self.height - 1) * self.width + x.min(self.width - 1)) * 4;
            [0, 1, 2].map(|c| f32::from(rgba[at + c]))
        };
        let byte = |v: f32| v.round().clamp(0.0, 255.0) as u8;
        let mut out = Vec::with_capacity(self.height * self.width * 3 / 2);
        for y in 0..self.height {
            for x in 0..self.width {
                let [r, g, b] = pixel(x, y);
                out.push(byte(0.299 * r + 0.587 * g + 0.114 * b));
            }
        }
        for weights in [[-0.168_736, -0.331_264, 0.5], [0.5, -0.418_688, -0.081_312]] {
            for y in (0..self.height / 2).map(|y| y * 2) {
                for x in (0..self.width / 2).map(|x| x * 2) {
                    let four = [pixel(x, y), pixel(x + 1, y), pixel(x, y + 1), pixel(x + 1, y + 1)];
                    let sum: f32 = four.iter().flat_map(|p| (0..3).map(move |c| p[c] * weights[c])).sum();
                    out.push(byte(sum / 4.0 + 128.0));
                }
            }
        }
        // Odd extents have no chroma for their last row or column; the tensor is as long as declared.
        out.resize(self.height * self.width * 3 / 2, 128);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_where_the_format_has_them() {
        let rgba = [10, 20, 30, 40].repeat(4);
        let of = |format| ImageDescriptor { format, height: 2, width: 2 }.from_rgba(&rgba).expect("4 pixels");
        assert_eq!(of(PixelFormat::Rgb24)[..3], [10, 20, 30]);
        assert_eq!(of(PixelFormat::Argb32)[..4], [40, 10, 20, 30]);
        assert_eq!(of(PixelFormat::Bgra32)[..4], [30, 20, 10, 40]);
        // 0.299·10 + 0.587·20 + 0.114·30 = 18.15; Cb = 128 + 0.564·(30 − 18.15), Cr = 128 + 0.713·(10 − 18.15)
        assert_eq!(of(PixelFormat::Y420), [18, 18, 18, 18, 135, 122]);
        let image = ImageDescriptor { format: PixelFormat::Rgb24, height: 2, width: 3 };
        assert_eq!(image.from_rgba(&rgba), None);
    }
}
