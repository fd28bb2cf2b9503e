"""Names for runs that nobody named: an adjective and an animal of the water, easy to say and to search for.

They need not be unique; ids are.
"""

import os
import random

_ADJECTIVES = (  # noqa: SIM905 - a list literal is three times as long
    "agile amber ample ardent azure balmy bashful blithe bold brassy breezy bright brisk burly calm candid careful"
    " cheery chilly civil clear clever cosy crimson crisp curious daring dappled deft dewy drowsy dusky eager earnest"
    " easy elder elegant ember fabled fair fearless fleet flinty fluent foggy fond frank fresh frosty gallant gentle"
    " giddy gilded glad gleaming golden graceful grand gusty hardy hasty hazel hearty honest humble icy idle indigo"
    " ivory jade jaunty jolly jovial keen kindly lanky lavish leafy lilac limber lively lofty loyal lucid lucky lunar"
    " mellow merry mighty mild misty mossy motley neat nifty nimble noble opal pale patient pearly perky placid plain"
    " playful plucky polite proud quaint quick quiet radiant rapid rosy rugged russet rustic sable sage salty sandy"
    " saucy scarlet serene shady sharp shy silent silken silver sleek slender slow sly smooth snowy snug solar solid"
    " sonic sparkling speckled spirited spry stately steady sterling stormy stout sturdy subtle sunny supple sweet"
    " swift tame tawny teal tender thrifty tidal tidy tiny tranquil trim trusty twilight upbeat valiant velvet vivid"
    " warm wary watchful wavy whimsical wild willing windy wise wistful witty woven young zealous zesty"
).split()

_ANIMALS = (  # noqa: SIM905 - as above
    "albatross alligator anchovy angelfish avocet axolotl barnacle barracuda bass beaver bittern boatbill bream bufflehead"
    " bullfrog capybara carp catfish caiman char chub clam cockle cod conch coot coral cormorant crab crane crayfish"
    " crocodile curlew cuttlefish dabchick dace dipper diver dolphin dragonfly duck dugong dunlin eel egret eider"
    " flamingo flounder frog gadwall gannet gar garganey goby godwit goldeneye goose grayling grebe grouper gull haddock"
    " hake halibut heron herring hippo ibis jacana jellyfish kelpie kingfisher kittiwake knot koi krill lamprey limpet"
    " lobster loon mackerel mallard manatee manta marlin mayfly merganser minnow mink moorhen moray mudskipper mullet"
    " muskrat mussel narwhal nautilus newt octopus orca osprey otter oyster pelican penguin perch petrel phalarope pike"
    " pintail pipefish plaice platypus plover pochard porpoise prawn puffin rail ray redshank remora roach ruddy salmon"
    " sandpiper sanderling sardine scallop scaup scoter seahorse seal shad shark shearwater shelduck shoveler shrimp skate"
    " skua smelt snapper snipe sole spoonbill sprat squid starfish stilt stingray stork sturgeon sunfish swan swordfish"
    " tadpole tarpon teal tench tern terrapin tetra toad trout tuna turbot turnstone turtle urchin vole wagtail walrus"
    " whale whelk whimbrel whiting wigeon wrasse"
).split()

_random = random.Random()  # noqa: S311 - a name, not a secret
_choice = _random.choice
# A forked child must not name its runs like its parent does.
os.register_at_fork(after_in_child=_random.seed)


def slug(words: int) -> str:
    """A random name of so many words, the last of them an animal."""
    return "-".join([*(_choice(_ADJECTIVES) for _ in range(words - 1)), _choice(_ANIMALS)])


def run_name() -> str:
    """A random name such as `misty-otter`."""
    return f"{_choice(_ADJECTIVES)}-{_choice(_ANIMALS)}"
