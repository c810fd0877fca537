//! Pictures as tensors: PNG and JPEG.

use std::io::Cursor;
use std::path::Path;

use coreai::{ElementType, Elements, ImageDescriptor, NDArray, PortDescriptor};
use image::{DynamicImage, ImageReader, imageops::FilterType};

use super::TensorError;
use super::convert::shape_text;

/// What happens to the pixels of a picture.
#[derive(Clone, Debug, Default)]
pub struct Pixels {
    /// Scale the picture to the port's extents; otherwise they must be the picture's.
    pub resize: bool,
    /// Subtracted from values in 0…1, per channel or one for all. Float ports only.
    pub mean: Vec<f64>,
    /// Divided by, after the mean. Float ports only.
    pub std: Vec<f64>,
}

/// Where rows, columns and channels lie in a shape.
struct Layout {
    height: usize,
    width: usize,
    channel: Option<usize>,
}

impl Layout {
    /// Channels are an axis of extent 1, 3 or 4: the third from the last (NCHW) or else the last (NHWC).
    /// Rank 2 is a grey picture.
    fn of(shape: &[Option<usize>]) -> Option<Layout> {
        let n = shape.len();
        let colour = |axis: usize| matches!(shape[axis], Some(1 | 3 | 4));
        let leading = |from: usize| shape[..from].iter().all(|d| d.is_none_or(|d| d == 1));
        match n {
            2 => Some(Layout { height: 0, width: 1, channel: None }),
            3.. if leading(n - 3) && colour(n - 3) => {
                Some(Layout { height: n - 2, width: n - 1, channel: Some(n - 3) })
            }
            3.. if leading(n - 3) && colour(n - 1) => {
                Some(Layout { height: n - 3, width: n - 2, channel: Some(n - 1) })
            }
            _ => None,
        }
    }
}

fn wrong(reason: impl Into<String>) -> TensorError {
    TensorError::Content(reason.into())
}

/// Decodes a picture for a port: bytes for integer ports, 0…1 for float ports.
pub(super) fn decode(
    bytes: &[u8],
    port: &PortDescriptor,
    pixels: &Pixels,
    given: Option<&[usize]>,
) -> Result<NDArray, TensorError> {
    let shape: Vec<Option<usize>> = match given {
        Some(given) => given.iter().map(|d| Some(*d)).collect(),
        None => port.shape.clone(),
    };
    if let Some(image) = &port.image {
        return image_port(bytes, port, image, pixels);
    }
    let refused = |reason: String| TensorError::Value { name: port.name.clone(), reason };
    let layout = Layout::of(&shape).ok_or_else(|| {
        refused(format!(
            "shape {} is not a picture's; expected rows and columns with 1, 3 or 4 channels before or after",
            shape_text(&shape)
        ))
    })?;
    let picture = picture_of(bytes)?;
    let wanted = |axis: usize, own: u32| shape[axis].map_or(Ok(own), u32::try_from);
    let too_large = |_| refused("its shape exceeds a picture's".into());
    let height = wanted(layout.height, picture.height()).map_err(too_large)?;
    let width = wanted(layout.width, picture.width()).map_err(too_large)?;
    let picture = sized(picture, height, width, port, pixels)?;
    let channels = layout.channel.and_then(|axis| shape[axis]).unwrap_or(1);
    let raw = match channels {
        1 => picture.into_luma8().into_raw(),
        3 => picture.into_rgb8().into_raw(),
        _ => picture.into_rgba8().into_raw(),
    };
    let (rows, columns) = (height as usize, width as usize);
    let planes = layout.channel.is_some_and(|axis| axis < layout.height);
    let ordered: Vec<u8> = if planes {
        (0..channels).flat_map(|c| raw.iter().skip(c).step_by(channels).copied()).collect()
    } else {
        raw
    };
    let extents: Vec<usize> = (0..shape.len())
        .map(|axis| match axis {
            _ if axis == layout.height => rows,
            _ if axis == layout.width => columns,
            _ if layout.channel == Some(axis) => channels,
            _ => 1,
        })
        .collect();
    if !port.element.is_float() {
        if !pixels.mean.is_empty() || !pixels.std.is_empty() {
            return Err(refused(format!(
                "expected {}, which takes bytes; --mean and --std are for float inputs",
                port.element.name()
            )));
        }
        return Ok(NDArray::new(ElementType::UI8, extents, ordered)?);
    }
    let pick = |list: &[f64], c: usize, default: f64| match list {
        [] => Ok(default),
        [one] => Ok(*one),
        _ => list.get(c).copied().filter(|_| list.len() == channels).ok_or_else(|| {
            refused(format!("{} values of --mean or --std for {channels} channels", list.len()))
        }),
    };
    let scale: Vec<(f64, f64)> = (0..channels)
        .map(|c| Ok((pick(&pixels.mean, c, 0.0)?, pick(&pixels.std, c, 1.0)?)))
        .collect::<Result<_, TensorError>>()?;
    let per_plane = rows * columns;
    let values = ordered.iter().enumerate().map(|(i, byte)| {
        let c = if planes { i / per_plane } else { i % channels };
        (f64::from(*byte) / 255.0 - scale[c].0) / scale[c].1
    });
    // Rounded once here, so that no conversion is reported for the picture's own bytes.
    Ok(NDArray::from_elements(port.element, &extents, &Elements::Real(values.collect()))?)
}

fn picture_of(bytes: &[u8]) -> Result<DynamicImage, TensorError> {
    // The decoder's default limits bound its memory.
    ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| wrong(e.to_string()))?
        .decode()
        .map_err(|e| wrong(format!("not a readable picture: {e}")))
}

/// The picture at the port's extents.
fn sized(
    picture: DynamicImage,
    height: u32,
    width: u32,
    port: &PortDescriptor,
    pixels: &Pixels,
) -> Result<DynamicImage, TensorError> {
    if (height, width) == (picture.height(), picture.width()) {
        return Ok(picture);
    }
    if pixels.resize && u64::from(height) * u64::from(width) <= 1 << 28 && height > 0 && width > 0 {
        return Ok(picture.resize_exact(width, height, FilterType::Triangle));
    }
    let reason = format!(
        "expected a picture of {height} rows and {width} columns, found {} and {}; --resize scales it",
        picture.height(),
        picture.width()
    );
    Err(TensorError::Value { name: port.name.clone(), reason })
}

/// Decodes a picture for a port of image type, in the port's pixel format.
fn image_port(
    bytes: &[u8],
    port: &PortDescriptor,
    image: &ImageDescriptor,
    pixels: &Pixels,
) -> Result<NDArray, TensorError> {
    let refused = |reason: &str| TensorError::Value { name: port.name.clone(), reason: reason.into() };
    let (Ok(height), Ok(width)) = (u32::try_from(image.height), u32::try_from(image.width)) else {
        return Err(refused("its extents exceed a picture's"));
    };
    if !pixels.mean.is_empty() || !pixels.std.is_empty() {
        return Err(refused("takes the picture's bytes; --mean and --std are for float inputs"));
    }
    let picture = sized(picture_of(bytes)?, height, width, port, pixels)?;
    let data = image.from_rgba(&picture.into_rgba8().into_raw());
    let (Some(data), Some(shape)) = (data, image.shape()) else {
        return Err(refused("its extents exceed a picture's"));
    };
    Ok(NDArray::new(ElementType::UI8, shape, data)?)
}

/// Writes a tensor that looks like a picture as PNG: uint8 as it is, floats from 0…1. `false` when its
/// shape or type is not a picture's.
pub fn write_png(path: &Path, array: &NDArray) -> Result<bool, TensorError> {
    let shape: Vec<Option<usize>> = array.shape.iter().map(|d| Some(*d)).collect();
    let Some(layout) = Layout::of(&shape) else { return Ok(false) };
    let bytes: Vec<u8> = match array.elements()? {
        Elements::Int(_) if array.element == ElementType::UI8 => array.data.clone(),
        Elements::Real(values) => values.iter().map(|x| (x.clamp(0.0, 1.0) * 255.0).round() as u8).collect(),
        _ => return Ok(false),
    };
    let channels = layout.channel.map_or(1, |axis| array.shape[axis]);
    let (rows, columns) = (array.shape[layout.height], array.shape[layout.width]);
    let plane = rows * columns;
    let interleaved: Vec<u8> = if layout.channel.is_some_and(|axis| axis < layout.height) && channels > 1 {
        (0..plane)
            .flat_map(|i| (0..channels).map(move |c| (c, i)))
            .map(|(c, i)| bytes[c * plane + i])
            .collect()
    } else {
        bytes
    };
    let (Ok(height), Ok(width)) = (u32::try_from(rows), u32::try_from(columns)) else { return Ok(false) };
    let picture = match channels {
        1 => image::GrayImage::from_raw(width, height, interleaved).map(DynamicImage::ImageLuma8),
        3 => image::RgbImage::from_raw(width, height, interleaved).map(DynamicImage::ImageRgb8),
        _ => image::RgbaImage::from_raw(width, height, interleaved).map(DynamicImage::ImageRgba8),
    };
    let Some(picture) = picture.filter(|_| plane > 0) else { return Ok(false) };
    let failed =
        |e: image::ImageError| TensorError::File { path: path.display().to_string(), reason: e.to_string() };
    picture.save_with_format(path, image::ImageFormat::Png).map_err(failed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 255]));
        let mut bytes = Cursor::new(vec![]);
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn port(element: ElementType, shape: &[Option<usize>]) -> PortDescriptor {
        PortDescriptor { name: "x".into(), element, shape: shape.to_vec(), image: None }
    }

    #[test]
    fn channels_go_where_the_port_has_them() {
        let bytes = png(3, 2);
        let last = port(ElementType::UI8, &[Some(1), None, None, Some(3)]);
        let array = decode(&bytes, &last, &Pixels::default(), None).unwrap();
        assert_eq!((&array.shape, &array.data[..6]), (&vec![1, 2, 3, 3], &[0u8, 0, 255, 1, 0, 255][..]));
        let first = port(ElementType::F32, &[Some(1), Some(3), Some(2), Some(3)]);
        let pixels = Pixels { mean: vec![0.5], std: vec![0.5], ..Pixels::default() };
        let array = decode(&bytes, &first, &pixels, None).unwrap();
        let Elements::Real(values) = array.elements().unwrap() else { panic!("floats") };
        assert_eq!((values[0], values[12], array.shape), (-1.0, 1.0, vec![1, 3, 2, 3]));
    }

    #[test]
    fn an_image_port_decides_the_order_of_its_bytes() {
        let image = ImageDescriptor { format: coreai::PixelFormat::Bgra32, height: 2, width: 3 };
        let port =
            PortDescriptor { image: Some(image), ..port(ElementType::UI8, &[Some(2), Some(3), Some(4)]) };
        let array = decode(&png(3, 2), &port, &Pixels::default(), None).unwrap();
        assert_eq!((&array.shape[..], &array.data[4..8]), (&[2, 3, 4][..], &[255u8, 0, 1, 255][..]));
        assert!(
            decode(&png(2, 2), &port, &Pixels::default(), None).unwrap_err().to_string().contains("--resize")
        );
    }

    #[test]
    fn extents_must_be_the_pictures_unless_it_is_resized() {
        let bytes = png(4, 4);
        let small = port(ElementType::UI8, &[Some(2), Some(2), Some(3)]);
        let error = decode(&bytes, &small, &Pixels::default(), None).unwrap_err().to_string();
        assert!(error.contains("--resize"), "{error}");
        let pixels = Pixels { resize: true, ..Pixels::default() };
        assert_eq!(decode(&bytes, &small, &pixels, None).unwrap().shape, [2, 2, 3]);
        let three = Pixels { mean: vec![0.1, 0.2], ..Pixels::default() };
        assert!(decode(&bytes, &port(ElementType::F32, &[None, None, Some(3)]), &three, None).is_err());
        assert!(decode(&bytes, &port(ElementType::F32, &[Some(7)]), &pixels, None).is_err());
        assert!(decode(&bytes[..40], &small, &pixels, None).is_err());
    }
}
