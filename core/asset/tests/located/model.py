import torch

class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(16.0))
    def forward(self, x):
        return torch.sin(x) * self.weight + x
