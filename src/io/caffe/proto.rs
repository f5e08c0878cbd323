//! The messages of Caffe's files, as far as they are read: numbers and names are those of its `caffe.proto`.

use super::read::{Read, Take, messages};
use super::text::{Field, Value};
use crate::io::error::ImportError;
use bytes::Bytes;

/// A blob's numbers; they lie in the binary form only, 4 bytes each (`data`) or 8 (`double_data`).
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct BlobProto {
    #[prost(message, optional, tag = "7")]
    pub shape: Option<BlobShape>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub data: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub double_data: Vec<Bytes>,
    #[prost(int64, optional, tag = "1")]
    pub num: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub channels: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    pub height: Option<i64>,
    #[prost(int64, optional, tag = "4")]
    pub width: Option<i64>,
}

impl Read for BlobProto {
    fn read(field: Field, _: &[&str], _: &mut Vec<String>) -> Result<BlobProto, ImportError> {
        Err(field.wrong("holds numbers as text: they are read from the .caffemodel file"))
    }
}

messages! {
    BlobShape {
        dim: Vec<i64> = [int64, repeated, packed = "true", tag = "1"];
    }
    FillerParameter {
        r#type: Option<String> = [string, optional, tag = "1"];
        value: Option<f32> = [float, optional, tag = "2"];
        min: Option<f32> = [float, optional, tag = "3"];
        max: Option<f32> = [float, optional, tag = "4"];
        mean: Option<f32> = [float, optional, tag = "5"];
        std: Option<f32> = [float, optional, tag = "6"];
        sparse: Option<i64> = [int64, optional, tag = "7"];
        variance_norm: Option<i32> = [int32, optional, tag = "8"] ["FAN_IN" "FAN_OUT" "AVERAGE"];
    }
    NetParameter {
        name: Option<String> = [string, optional, tag = "1"];
        input: Vec<String> = [string, repeated, tag = "3"];
        input_shape: Vec<BlobShape> = [message, repeated, tag = "8"];
        input_dim: Vec<i64> = [int64, repeated, packed = "false", tag = "4"];
        layer: Vec<LayerParameter> = [message, repeated, tag = "100"];
        layers: Vec<V1LayerParameter> = [message, repeated, tag = "2"];
        @ "force_backward" "state" "debug_info"
    }
    NetStateRule {
        phase: Option<i32> = [int32, optional, tag = "1"] ["TRAIN" "TEST"];
        min_level: Option<i64> = [int64, optional, tag = "2"];
        max_level: Option<i64> = [int64, optional, tag = "3"];
        stage: Vec<String> = [string, repeated, tag = "4"];
        not_stage: Vec<String> = [string, repeated, tag = "5"];
    }
    ParamSpec {
        lr_mult: Option<f32> = [float, optional, tag = "3"];
        decay_mult: Option<f32> = [float, optional, tag = "4"];
        @ "name" "share_mode"
    }
    LayerParameter {
        name: Option<String> = [string, optional, tag = "1"];
        r#type: Option<String> = [string, optional, tag = "2"];
        bottom: Vec<String> = [string, repeated, tag = "3"];
        top: Vec<String> = [string, repeated, tag = "4"];
        loss_weight: Vec<f32> = [float, repeated, packed = "false", tag = "5"];
        param: Vec<ParamSpec> = [message, repeated, tag = "6"];
        blobs: Vec<BlobProto> = [message, repeated, tag = "7"];
        include: Vec<NetStateRule> = [message, repeated, tag = "8"];
        exclude: Vec<NetStateRule> = [message, repeated, tag = "9"];
        transform_param: Option<Box<TransformationParameter>> = [message, optional, boxed, tag = "100"];
        concat_param: Option<Box<ConcatParameter>> = [message, optional, boxed, tag = "104"];
        convolution_param: Option<Box<ConvolutionParameter>> = [message, optional, boxed, tag = "106"];
        data_param: Option<Box<DataParameter>> = [message, optional, boxed, tag = "107"];
        dropout_param: Option<Box<DropoutParameter>> = [message, optional, boxed, tag = "108"];
        dummy_data_param: Option<Box<DummyDataParameter>> = [message, optional, boxed, tag = "109"];
        eltwise_param: Option<Box<EltwiseParameter>> = [message, optional, boxed, tag = "110"];
        image_data_param: Option<Box<ImageDataParameter>> = [message, optional, boxed, tag = "115"];
        inner_product_param: Option<Box<InnerProductParameter>> = [message, optional, boxed, tag = "117"];
        lrn_param: Option<Box<LrnParameter>> = [message, optional, boxed, tag = "118"];
        memory_data_param: Option<Box<MemoryDataParameter>> = [message, optional, boxed, tag = "119"];
        pooling_param: Option<Box<PoolingParameter>> = [message, optional, boxed, tag = "121"];
        power_param: Option<Box<PowerParameter>> = [message, optional, boxed, tag = "122"];
        relu_param: Option<Box<ReluParameter>> = [message, optional, boxed, tag = "123"];
        softmax_param: Option<Box<SoftmaxParameter>> = [message, optional, boxed, tag = "125"];
        slice_param: Option<Box<SliceParameter>> = [message, optional, boxed, tag = "126"];
        prelu_param: Option<Box<PreluParameter>> = [message, optional, boxed, tag = "131"];
        reshape_param: Option<Box<ReshapeParameter>> = [message, optional, boxed, tag = "133"];
        flatten_param: Option<Box<FlattenParameter>> = [message, optional, boxed, tag = "135"];
        batch_norm_param: Option<Box<BatchNormParameter>> = [message, optional, boxed, tag = "139"];
        elu_param: Option<Box<EluParameter>> = [message, optional, boxed, tag = "140"];
        scale_param: Option<Box<ScaleParameter>> = [message, optional, boxed, tag = "142"];
        input_param: Option<Box<InputParameter>> = [message, optional, boxed, tag = "143"];
        @ "phase" "propagate_down" "loss_param" "accuracy_param" "hdf5_data_param" "hdf5_output_param"
            "hinge_loss_param" "infogain_loss_param" "sigmoid_param" "tanh_param" "window_data_param"
    }
    V1LayerParameter {
        layer: Option<Box<V0LayerParameter>> = [message, optional, boxed, tag = "1"];
        bottom: Vec<String> = [string, repeated, tag = "2"];
        top: Vec<String> = [string, repeated, tag = "3"];
        name: Option<String> = [string, optional, tag = "4"];
        r#type: Option<i32> = [int32, optional, tag = "5"] [
            "NONE" "ACCURACY" "BNLL" "CONCAT" "CONVOLUTION" "DATA" "DROPOUT" "EUCLIDEAN_LOSS" "FLATTEN"
            "HDF5_DATA" "HDF5_OUTPUT" "IM2COL" "IMAGE_DATA" "INFOGAIN_LOSS" "INNER_PRODUCT" "LRN"
            "MULTINOMIAL_LOGISTIC_LOSS" "POOLING" "RELU" "SIGMOID" "SOFTMAX" "SOFTMAX_LOSS" "SPLIT" "TANH"
            "WINDOW_DATA" "ELTWISE" "POWER" "SIGMOID_CROSS_ENTROPY_LOSS" "HINGE_LOSS" "MEMORY_DATA" "ARGMAX"
            "THRESHOLD" "DUMMY_DATA" "SLICE" "MVN" "ABSVAL" "SILENCE" "CONTRASTIVE_LOSS" "EXP" "DECONVOLUTION"
        ];
        blobs: Vec<BlobProto> = [message, repeated, tag = "6"];
        blobs_lr: Vec<f32> = [float, repeated, packed = "false", tag = "7"];
        weight_decay: Vec<f32> = [float, repeated, packed = "false", tag = "8"];
        concat_param: Option<Box<ConcatParameter>> = [message, optional, boxed, tag = "9"];
        convolution_param: Option<Box<ConvolutionParameter>> = [message, optional, boxed, tag = "10"];
        data_param: Option<Box<DataParameter>> = [message, optional, boxed, tag = "11"];
        dropout_param: Option<Box<DropoutParameter>> = [message, optional, boxed, tag = "12"];
        image_data_param: Option<Box<ImageDataParameter>> = [message, optional, boxed, tag = "15"];
        inner_product_param: Option<Box<InnerProductParameter>> = [message, optional, boxed, tag = "17"];
        lrn_param: Option<Box<LrnParameter>> = [message, optional, boxed, tag = "18"];
        pooling_param: Option<Box<PoolingParameter>> = [message, optional, boxed, tag = "19"];
        power_param: Option<Box<PowerParameter>> = [message, optional, boxed, tag = "21"];
        memory_data_param: Option<Box<MemoryDataParameter>> = [message, optional, boxed, tag = "22"];
        eltwise_param: Option<Box<EltwiseParameter>> = [message, optional, boxed, tag = "24"];
        dummy_data_param: Option<Box<DummyDataParameter>> = [message, optional, boxed, tag = "26"];
        relu_param: Option<Box<ReluParameter>> = [message, optional, boxed, tag = "30"];
        slice_param: Option<Box<SliceParameter>> = [message, optional, boxed, tag = "31"];
        include: Vec<NetStateRule> = [message, repeated, tag = "32"];
        exclude: Vec<NetStateRule> = [message, repeated, tag = "33"];
        loss_weight: Vec<f32> = [float, repeated, packed = "false", tag = "35"];
        transform_param: Option<Box<TransformationParameter>> = [message, optional, boxed, tag = "36"];
        softmax_param: Option<Box<SoftmaxParameter>> = [message, optional, boxed, tag = "39"];
        @ "param" "blob_share_mode" "loss_param" "accuracy_param" "hdf5_data_param" "hdf5_output_param"
            "hinge_loss_param" "infogain_loss_param" "sigmoid_param" "tanh_param" "window_data_param"
    }
    V0LayerParameter {
        name: Option<String> = [string, optional, tag = "1"];
    }
    TransformationParameter {
        scale: Option<f32> = [float, optional, tag = "1"];
        crop_size: Option<u32> = [uint32, optional, tag = "3"];
        mean_file: Option<String> = [string, optional, tag = "4"];
        mean_value: Vec<f32> = [float, repeated, packed = "false", tag = "5"];
        force_color: Option<bool> = [bool, optional, tag = "6"];
        force_gray: Option<bool> = [bool, optional, tag = "7"];
        @ "mirror"
    }
    ConcatParameter {
        concat_dim: Option<u32> = [uint32, optional, tag = "1"];
        axis: Option<i32> = [int32, optional, tag = "2"];
    }
    ConvolutionParameter {
        num_output: Option<u32> = [uint32, optional, tag = "1"];
        bias_term: Option<bool> = [bool, optional, tag = "2"];
        pad: Vec<u32> = [uint32, repeated, packed = "false", tag = "3"];
        kernel_size: Vec<u32> = [uint32, repeated, packed = "false", tag = "4"];
        group: Option<u32> = [uint32, optional, tag = "5"];
        stride: Vec<u32> = [uint32, repeated, packed = "false", tag = "6"];
        weight_filler: Option<FillerParameter> = [message, optional, tag = "7"];
        bias_filler: Option<FillerParameter> = [message, optional, tag = "8"];
        pad_h: Option<u32> = [uint32, optional, tag = "9"];
        pad_w: Option<u32> = [uint32, optional, tag = "10"];
        kernel_h: Option<u32> = [uint32, optional, tag = "11"];
        kernel_w: Option<u32> = [uint32, optional, tag = "12"];
        stride_h: Option<u32> = [uint32, optional, tag = "13"];
        stride_w: Option<u32> = [uint32, optional, tag = "14"];
        axis: Option<i32> = [int32, optional, tag = "16"];
        dilation: Vec<u32> = [uint32, repeated, packed = "false", tag = "18"];
        @ "engine" "force_nd_im2col"
    }
    DataParameter {
        scale: Option<f32> = [float, optional, tag = "2"];
        mean_file: Option<String> = [string, optional, tag = "3"];
        crop_size: Option<u32> = [uint32, optional, tag = "5"];
        @ "source" "batch_size" "mirror" "rand_skip" "backend" "force_encoded_color" "prefetch"
    }
    DropoutParameter {
        dropout_ratio: Option<f32> = [float, optional, tag = "1"];
    }
    DummyDataParameter {
        num: Vec<u32> = [uint32, repeated, packed = "false", tag = "2"];
        channels: Vec<u32> = [uint32, repeated, packed = "false", tag = "3"];
        height: Vec<u32> = [uint32, repeated, packed = "false", tag = "4"];
        width: Vec<u32> = [uint32, repeated, packed = "false", tag = "5"];
        shape: Vec<BlobShape> = [message, repeated, tag = "6"];
        @ "data_filler"
    }
    EltwiseParameter {
        operation: Option<i32> = [int32, optional, tag = "1"] ["PROD" "SUM" "MAX"];
        coeff: Vec<f32> = [float, repeated, packed = "false", tag = "2"];
        @ "stable_prod_grad"
    }
    ImageDataParameter {
        scale: Option<f32> = [float, optional, tag = "2"];
        mean_file: Option<String> = [string, optional, tag = "3"];
        crop_size: Option<u32> = [uint32, optional, tag = "5"];
        new_height: Option<u32> = [uint32, optional, tag = "9"];
        new_width: Option<u32> = [uint32, optional, tag = "10"];
        is_color: Option<bool> = [bool, optional, tag = "11"];
        @ "source" "batch_size" "rand_skip" "shuffle" "mirror" "root_folder"
    }
    InnerProductParameter {
        num_output: Option<u32> = [uint32, optional, tag = "1"];
        bias_term: Option<bool> = [bool, optional, tag = "2"];
        weight_filler: Option<FillerParameter> = [message, optional, tag = "3"];
        bias_filler: Option<FillerParameter> = [message, optional, tag = "4"];
        axis: Option<i32> = [int32, optional, tag = "5"];
        transpose: Option<bool> = [bool, optional, tag = "6"];
    }
    InputParameter {
        shape: Vec<BlobShape> = [message, repeated, tag = "1"];
    }
    LrnParameter {
        local_size: Option<u32> = [uint32, optional, tag = "1"];
        alpha: Option<f32> = [float, optional, tag = "2"];
        beta: Option<f32> = [float, optional, tag = "3"];
        norm_region: Option<i32> = [int32, optional, tag = "4"] ["ACROSS_CHANNELS" "WITHIN_CHANNEL"];
        k: Option<f32> = [float, optional, tag = "5"];
        @ "engine"
    }
    MemoryDataParameter {
        batch_size: Option<u32> = [uint32, optional, tag = "1"];
        channels: Option<u32> = [uint32, optional, tag = "2"];
        height: Option<u32> = [uint32, optional, tag = "3"];
        width: Option<u32> = [uint32, optional, tag = "4"];
    }
    PoolingParameter {
        pool: Option<i32> = [int32, optional, tag = "1"] ["MAX" "AVE" "STOCHASTIC"];
        kernel_size: Option<u32> = [uint32, optional, tag = "2"];
        stride: Option<u32> = [uint32, optional, tag = "3"];
        pad: Option<u32> = [uint32, optional, tag = "4"];
        kernel_h: Option<u32> = [uint32, optional, tag = "5"];
        kernel_w: Option<u32> = [uint32, optional, tag = "6"];
        stride_h: Option<u32> = [uint32, optional, tag = "7"];
        stride_w: Option<u32> = [uint32, optional, tag = "8"];
        pad_h: Option<u32> = [uint32, optional, tag = "9"];
        pad_w: Option<u32> = [uint32, optional, tag = "10"];
        global_pooling: Option<bool> = [bool, optional, tag = "12"];
        round_mode: Option<i32> = [int32, optional, tag = "13"] ["CEIL" "FLOOR"];
        ceil_mode: Option<bool> = [bool, optional, tag = "1000"];
        @ "engine"
    }
    PowerParameter {
        power: Option<f32> = [float, optional, tag = "1"];
        scale: Option<f32> = [float, optional, tag = "2"];
        shift: Option<f32> = [float, optional, tag = "3"];
    }
    ReluParameter {
        negative_slope: Option<f32> = [float, optional, tag = "1"];
        @ "engine"
    }
    SoftmaxParameter {
        axis: Option<i32> = [int32, optional, tag = "2"];
        @ "engine"
    }
    SliceParameter {
        slice_dim: Option<u32> = [uint32, optional, tag = "1"];
        slice_point: Vec<u32> = [uint32, repeated, packed = "false", tag = "2"];
        axis: Option<i32> = [int32, optional, tag = "3"];
    }
    PreluParameter {
        filler: Option<FillerParameter> = [message, optional, tag = "1"];
        channel_shared: Option<bool> = [bool, optional, tag = "2"];
    }
    ReshapeParameter {
        shape: Option<BlobShape> = [message, optional, tag = "1"];
        axis: Option<i32> = [int32, optional, tag = "2"];
        num_axes: Option<i32> = [int32, optional, tag = "3"];
    }
    FlattenParameter {
        axis: Option<i32> = [int32, optional, tag = "1"];
        end_axis: Option<i32> = [int32, optional, tag = "2"];
    }
    BatchNormParameter {
        use_global_stats: Option<bool> = [bool, optional, tag = "1"];
        moving_average_fraction: Option<f32> = [float, optional, tag = "2"];
        eps: Option<f32> = [float, optional, tag = "3"];
        @ "engine"
    }
    EluParameter {
        alpha: Option<f32> = [float, optional, tag = "1"];
    }
    ScaleParameter {
        axis: Option<i32> = [int32, optional, tag = "1"];
        num_axes: Option<i32> = [int32, optional, tag = "2"];
        filler: Option<FillerParameter> = [message, optional, tag = "3"];
        bias_term: Option<bool> = [bool, optional, tag = "4"];
        bias_filler: Option<FillerParameter> = [message, optional, tag = "5"];
    }
}
