# shellcheck shell=bash disable=SC2034
# System: an option sets the key in [brackets]; empty: the key keeps its value in the file
config=               # FILE: YAML of encoder, loss and schedules
model=                # encoder; list prints all, their sizes and whose checkpoints they load [model]
loss=                 # sphereface2, aam, am, softmax, sphere, triplet, ge2e, teacher, ...; a wrong name lists all [loss]
margin_type=          # C, A or M, of sphereface2 [loss_args.margin_type]
margin=               # final margin [margin_update.final_margin]
scale=                # scale of the logits (s) [loss_args.scale]
lambda=               # weight of the target pair in sphereface2 [loss_args.target_weight]
t=                    # exponent of sphereface2's g [loss_args.t]
num_epochs=           # number of epochs [num_epochs]
seed=                 # seed of initialization, held-out speakers, order and crops [seed]
vad=                  # true|false: drop the frames without speech, in training and extraction [dataset_args.vad]
set=                  # any other key, as in "dataloader_args.batch_size=64 scheduler_args.initial_lr=0.1" (sv/config.py)
checkpoint=           # FILE: model whose weights training starts from [model_init]
pretrained=           # FILE: weights of the network that the encoder is built on, such as WavLM [pretrained]
exp_dir=              # DIR: the system's folder (default: <recipe>/exp/<name>, as in ResNet34-sphereface2-C-m0.2-seed42)
