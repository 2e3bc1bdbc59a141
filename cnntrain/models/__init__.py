"""The model gallery: one file per architecture, and one dict that lists them all."""

from cnntrain.models.alexnet import AlexNet
from cnntrain.models.applications import Application
from cnntrain.models.base import Architecture
from cnntrain.models.googlenet import GoogLeNet
from cnntrain.models.inception_resnet_v2 import InceptionResNetV2
from cnntrain.models.inception_v3 import InceptionV3
from cnntrain.models.inception_v4 import InceptionV4
from cnntrain.models.lenet5 import LeNet5
from cnntrain.models.lenet5_1998 import LeNet51998
from cnntrain.models.mobilenet import MobileNet, MobileNetV2
from cnntrain.models.nin import NetworkInNetwork
from cnntrain.models.resnet import ResNet10, ResNet18, ResNet34, ResNet50, ResNet101, ResNet152
from cnntrain.models.resnet9 import ResNet9
from cnntrain.models.senet import SEGoogLeNet, SENet154, SEResNet50
from cnntrain.models.transfer import Transfer
from cnntrain.models.vgg import VGG16, VGG19
from cnntrain.models.xception import Xception
from cnntrain.models.zfnet import ZFNet

MODELS: dict[str, type[Architecture]] = {
    "lenet5": LeNet5,
    "lenet5_1998": LeNet51998,
    "alexnet": AlexNet,
    "zfnet": ZFNet,
    "nin": NetworkInNetwork,
    "googlenet": GoogLeNet,
    "vgg16": VGG16,
    "vgg19": VGG19,
    "resnet9": ResNet9,
    "resnet10": ResNet10,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "resnet101": ResNet101,
    "resnet152": ResNet152,
    "inception_v3": InceptionV3,
    "inception_v4": InceptionV4,
    "inception_resnet_v2": InceptionResNetV2,
    "xception": Xception,
    "mobilenet": MobileNet,
    "mobilenet_v2": MobileNetV2,
    "se_resnet50": SEResNet50,
    "senet154": SENet154,
    "se_googlenet": SEGoogLeNet,
    "application": Application,
    "transfer": Transfer,
}
