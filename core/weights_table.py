"""The models there are, by name: file, address, accepted hashes, licence, purpose. core/weights.py finds and fetches them."""

from __future__ import annotations

from dataclasses import dataclass

_MEDIAPIPE = "https://storage.googleapis.com/mediapipe-models"
_YUNET = "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx"
_TORCHVISION = "https://download.pytorch.org/models"
_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
# the zoo keeps its models in Git LFS; this host serves their content
_SFACE = ("https://media.githubusercontent.com/media/opencv/opencv_zoo/edef535367a4f8053b5bfb7580935c83772a9639/models/"
          "face_recognition_sface")
_LIGHT_ASD = "https://raw.githubusercontent.com/Junhua-Liao/Light-ASD/ed38c232de5efe0261dbd68627c0ade7cdfe14eb/weight"


@dataclass(frozen=True)
class Weight:
    """One model file. `sha256` holds every accepted hash; empty means that nobody can verify it and the user must name it."""

    name: str
    file: str
    address: str | None
    sha256: tuple[str, ...]
    licence: str
    kind: str
    note: str
    also: tuple[str, ...] = ()
    wheel_member: str | None = None


TABLE: dict[str, Weight] = {w.name: w for w in (
    Weight("face_landmarker", "face_landmarker.task",
           f"{_MEDIAPIPE}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
           ("64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",), "Apache-2.0", "landmarks",
           "MediaPipe face landmarker, 478 points", also=("face_landmarker_v2_with_blendshapes.task",)),
    Weight("mesh", "face_landmark.tflite", None,
           ("1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",), "Apache-2.0", "landmarks",
           "MediaPipe face mesh, 468 points; shipped in the mediapipe 0.10.21 wheel",
           wheel_member="mediapipe/modules/face_landmark/face_landmark.tflite"),
    Weight("blazeface", "blaze_face_short_range.tflite",
           f"{_MEDIAPIPE}/face_detector/blaze_face_short_range/float16/1/blaze_face_short_range.tflite",
           ("b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"), "Apache-2.0", "finder",
           "MediaPipe BlazeFace short range; the second hash is the build in the mediapipe 0.10.21 wheel",
           also=("face_detection_short_range.tflite",),
           wheel_member="mediapipe/modules/face_detection/face_detection_short_range.tflite"),
    Weight("yunet", "yunet_n_dynamic.onnx", f"{_YUNET}/yunet_n_dynamic.onnx",
           ("104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",), "Apache-2.0", "finder",
           "YuNet face detector, 5 points, any input size"),
    Weight("yunet_640", "yunet_n_640_640.onnx", f"{_YUNET}/yunet_n_640_640.onnx",
           ("25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",), "Apache-2.0", "finder",
           "YuNet face detector, 5 points, exported at 640x640"),
    Weight("light_asd", "light_asd_finetuning_TalkSet.model", f"{_LIGHT_ASD}/finetuning_TalkSet.model",
           ("efc375833887eefa9d209dc92810e18519b04c3c73ea35a549f2a7f40b7d94d5",), "MIT", "speaker",
           "Light-ASD active speaker detection, 1.03 M parameters", also=("finetuning_TalkSet.model",)),
    Weight("syncnet_v2", "syncnet_v2.model", "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
           ("961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",), "MIT (code); no licence stated for the weights",
           "sync", "SyncNet v2; the hash is the one public projects report for the official file, not measured by this project"),
    Weight("lpips_alexnet", "alexnet-owt-7be5be79.pth", f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
           ("7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",), "BSD-3-Clause", "perceptual",
           "torchvision's AlexNet, the usual backbone of LPIPS; hash as public projects report it, begun in the file's name"),
    Weight("lpips_vgg16", "vgg16-397923af.pth", f"{_TORCHVISION}/vgg16-397923af.pth",
           ("397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",), "BSD-3-Clause", "perceptual",
           "torchvision's VGG-16, the other backbone of LPIPS; hash as public projects report it, begun in the file's name"),
    Weight("inception_fid", "weights-inception-2015-12-05-6726825d.pth", f"{_FIDELITY}/weights-inception-2015-12-05-6726825d.pth",
           ("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",), "Apache-2.0", "perceptual",
           "FID's Inception of 2015; hash as public projects report it, begun in the file's name",
           also=("pt_inception-2015-12-05-6726825d.pth",)),
    Weight("i3d_kinetics400", "i3d_pretrained_400.pt", None, (), "Apache-2.0 (original); none stated for this copy", "perceptual",
           "I3D for FVD, in the public repository songweige/TATS as tats/fvd/i3d_pretrained_400.pt; its hash is not published"),
    Weight("videomae_g_ssv2", "vit_g_hybrid_pt_1200e_ssv2_ft.pth", None,
           ("5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",), "Apache-2.0 (its hub page)", "perceptual",
           "VideoMAE v2 ViT-g for content-debiased FVD, 2.0 GB: fetch mae-g/ of OpenGVLab/VideoMAE2 from the model hub yourself"),
    Weight("sface", "face_recognition_sface_2021dec.onnx", f"{_SFACE}/face_recognition_sface_2021dec.onnx",
           ("0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",), "Apache-2.0", "identity",
           "SFace face recognition, 128 values; hash from the zoo's own LFS pointer"),
    Weight("pyannote_segmentation", "pytorch_model.bin", None, (), "MIT, gated", "voice",
           "pyannote.audio segmentation; accept its terms on its model page, then name the file or set HF_TOKEN"),
)}
