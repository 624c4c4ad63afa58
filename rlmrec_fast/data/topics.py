"""The world of synthetic data: kinds of books, their themes, and the words of each theme."""

from __future__ import annotations

# topic -> theme -> the words that only this theme uses
TOPICS: dict[str, dict[str, str]] = {
    "detective novel": {
        "a village murder": "vicar constable poison inheritance gossip teapot",
        "a missing person": "photograph alibi witness ransom motel stranger",
        "an art theft": "forgery gallery curator safe auction canvas",
    },
    "space opera": {
        "a generation ship": "starship hull captain cryosleep colony reactor",
        "an alien contact": "signal translator hive xenobiologist moonbase anomaly",
        "a galactic war": "armada hyperspace admiral blockade plasma mutiny",
    },
    "historical saga": {
        "a royal court": "queen courtier succession banquet tapestry regent",
        "a wartime hospital": "nurse trench bandage telegram armistice surgeon",
        "a merchant family": "spice harbour ledger galleon dowry guild",
    },
    "romance": {
        "a second chance": "heartbreak reunion bakery wedding hometown forgiveness",
        "a rancher in love": "cowboy barn rodeo stallion prairie fiddle",
        "a rivalry at work": "boardroom deadline elevator promotion banter attorney",
    },
    "fantasy epic": {
        "a dragon rider": "dragon saddle wyrm ember scale eyrie",
        "a school of magic": "wizard spellbook apprentice potion familiar rune",
        "a fallen kingdom": "throne paladin siege prophecy sword exile",
    },
    "horror story": {
        "a haunted house": "ghost attic seance whisper cellar mirror",
        "a creature in the woods": "claw cabin howl bonfire mist hunter",
        "a cursed object": "amulet curse doll ritual candle blood",
    },
    "cookbook": {
        "sourdough baking": "sourdough flour crust starter oven rye",
        "street food": "noodle skewer chili tamarind dumpling wok",
        "a vegetable garden": "basil tomato lentil squash pickle harvest",
    },
    "travel memoir": {
        "a long walk": "pilgrim trail backpack blister hostel footpath",
        "a sailing year": "sailboat reef anchor monsoon lagoon rigging",
        "a railway journey": "locomotive sleeper border samovar steppe platform",
    },
    "popular science book": {
        "the human brain": "neuron memory dopamine cortex perception dream",
        "deep time": "fossil glacier dinosaur sediment extinction volcano",
        "the quantum world": "photon entanglement electron paradox laser symmetry",
    },
    "nature essay": {
        "birds of the coast": "heron gull estuary plumage migration dune",
        "an old forest": "oak moss owl fungus badger canopy",
        "life in the ocean": "whale coral kelp octopus plankton tide",
    },
    "business guide": {
        "a young company": "startup founder investor pitch prototype runway",
        "better leadership": "manager feedback trust meeting culture mentor",
        "personal finance": "savings mortgage pension budget dividend debt",
    },
    "biography": {
        "a jazz musician": "trumpet saxophone nightclub improvisation chord quartet",
        "a mountain climber": "summit avalanche sherpa rope crevasse expedition",
        "a stage actress": "theatre rehearsal applause costume playwright spotlight",
    },
    "spy thriller": {
        "a double agent": "defector cipher embassy dossier checkpoint microfilm",
        "a cyber attack": "hacker malware server encryption satellite blackout",
        "a hijacked plane": "cockpit hostage parachute runaway marshal altitude",
    },
    "comic novel": {
        "an office farce": "stapler intern spreadsheet photocopier memo cubicle",
        "a chaotic holiday": "campsite sunburn caravan luggage passport detour",
        "an unlucky inventor": "gadget patent explosion workshop contraption toaster",
    },
    "philosophical essay": {
        "the good life": "virtue stoic happiness temperance wisdom habit",
        "mind and machine": "consciousness algorithm automaton intelligence zombie robot",
        "justice and power": "liberty citizen tyranny contract equality parliament",
    },
    "young adult novel": {
        "a dystopian contest": "arena rebel district ration tribute uprising",
        "the first year at college": "roommate dormitory lecture crush scholarship campus",
        "a vampire secret": "vampire fang moonlight coven immortal werewolf",
    },
    "craft manual": {
        "knitting for the cold": "yarn needle sweater cable mitten wool",
        "woodworking at home": "chisel plane dovetail lathe walnut varnish",
        "watercolour painting": "brush pigment wash sketchbook easel palette",
    },
    "sports story": {
        "a football season": "striker penalty stadium coach relegation goalkeeper",
        "a boxing comeback": "boxer glove knockout ring sparring champion",
        "a marathon year": "runner mileage sneakers pacing injury finish",
    },
    "children's book": {
        "a clever animal": "fox hedgehog burrow acorn rabbit meadow",
        "a bedtime adventure": "pillow teddy moon lullaby blanket stars",
        "a pirate treasure": "pirate parrot map island chest cannon",
    },
    "political history": {
        "a revolution": "barricade pamphlet guillotine monarchy assembly manifesto",
        "the cold war": "missile superpower wall treaty propaganda dissident",
        "an election": "ballot candidate campaign scandal senator poll",
    },
}

# fmt: off
ADJECTIVES = (
    "silent", "golden", "broken", "hidden", "last", "crooked", "distant", "burning", "forgotten",
    "patient", "restless", "scarlet", "winter", "northern", "secret", "gentle", "hollow", "stolen",
    "bitter", "shining", "lonely", "second", "wandering", "quiet", "savage", "painted", "paper",
    "iron", "salt", "midnight", "ordinary", "impossible", "borrowed", "perfect", "vanishing",
)
TONES = (
    "warm", "dark", "witty", "fast", "thoughtful", "tender", "gripping", "playful", "sober",
    "lyrical",
)
